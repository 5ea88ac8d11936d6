package generate

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestGoldenGemmaFolder: a folder of Gemma 4, and the GGUF file that export makes of it, loaded as the
// command loads them, give the golden logits and continuations of text, pictures and sound.
func TestGoldenGemmaFolder(t *testing.T) {
	dir := golden.Dir(t, "tiny_gemma4")
	folder, file := vlmtest.NewTinyGemma(t, "config.json").Folder(t), filepath.Join(t.TempDir(), "gemma.gguf")
	require.Value(pretrained.Export(t.Context(), pretrained.ExportOptions{Model: folder, Out: file, Quantize: "f32"}))(t)
	var greedy gemmaGreedy
	golden.JSON(t, filepath.Join(dir, "greedy.json"), &greedy)
	for _, dev := range devices.Open(t) {
		for _, path := range []string{folder, file} {
			t.Run(dev.Info().Device+"/"+filepath.Base(path), func(t *testing.T) {
				l, err := pretrained.Load(path, dev)
				require.NoError(t, err)
				defer l.Close()
				if !slices.Equal(l.Processor.Suppressed, greedy.Suppressed) || !slices.Equal(l.Processor.EOS, []int32{301, 1}) {
					t.Errorf("never generated %v, at the end %v", l.Processor.Suppressed, l.Processor.EOS)
				}
				l.Processor.EOS = nil // the golden continuations go on
				g := New(l)
				defer g.Close()
				compared := 0
				for _, name := range []string{"text_long", "text_short", "pictures", "audio", "all"} {
					c, ok := readGemmaCase(t, dir, name, l.Config)
					if !ok {
						continue
					}
					compared++
					c.compareLogits(t, g)
					if want := greedy.Sequences[name].IDs; len(want) > 0 {
						got := require.Value(g.Generate(t.Context(), c.prompt, c.images, Options{MaxNewTokens: len(want), Clips: c.clips}))(t)
						if !slices.Equal(got.IDs, want) {
							t.Errorf("%s: continued with\n %v, want\n %v", name, got.IDs, want)
						}
					}
				}
				if compared < 3 {
					t.Errorf("%d cases compared", compared)
				}
			})
		}
	}
}

// gemmaCase is a golden case as bytes of images and samples of sound.
type gemmaCase struct {
	name   string
	prompt chat.Tokens
	images [][]byte
	clips  [][]float32
	logits []float32 // after the last token
}

// readGemmaCase reads a case; ok is false for one that is not here.
func readGemmaCase(t *testing.T, dir, name string, config vlm.Config) (c gemmaCase, ok bool) {
	want, err := safetensors.Open(filepath.Join(dir, name+".safetensors"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false
	}
	require.NoError(t, err)
	defer want.Close()
	inputs, err := safetensors.Open(filepath.Join(dir, "inputs.safetensors"))
	require.NoError(t, err)
	defer inputs.Close()
	c.name, c.prompt.IDs = name, require.Value(inputs.Int32(name+".input_ids"))(t)
	logits := require.Value(want.Float32("act.logits"))(t)
	c.logits = logits[len(logits)-config.Text.VocabSize:]
	if info, ok := inputs.Tensor(name + ".pixel_values"); ok {
		values, places := require.Value(inputs.Float32(name+".pixel_values"))(t), require.Value(inputs.Int32(name+".image_position_ids"))(t)
		slots, features, at := info.Shape[1], info.Shape[2], 0
		for i := range info.Shape[0] {
			grid := gridOf(t, places[2*i*slots:][:2*slots])
			pixels := make([]byte, grid.Tokens()*features)
			for j, v := range values[i*slots*features:][:len(pixels)] {
				pixels[j] = byte(math.Round(255 * float64(v)))
			}
			at += slices.Index(c.prompt.IDs[at:], int32(config.ImageTokenID))
			c.images, c.prompt.Images, c.prompt.Grids = append(c.images, pixels), append(c.prompt.Images, at), append(c.prompt.Grids, grid)
			at += grid.Tokens()
		}
	}
	if info, ok := inputs.Tensor(name + ".audio_frames"); ok {
		values, mask := require.Value(inputs.Float32(name+".audio_frames"))(t), require.Value(inputs.Int32(name+".audio_frames_mask"))(t)
		frames, size, at := info.Shape[1], info.Shape[2], 0
		for i := range info.Shape[0] {
			n := 0
			for _, real := range mask[i*frames:][:frames] {
				n += int(real)
			}
			at += slices.Index(c.prompt.IDs[at:], int32(config.AudioTokenID))
			c.clips, c.prompt.Clips = append(c.clips, values[i*frames*size:][:n*size]), append(c.prompt.Clips, chat.Clip{Start: at, Tokens: n})
			at += n
		}
	}
	return c, true
}

// gridOf is the grid of patches at the places (column, row) of an image, those of padding at -1.
func gridOf(t *testing.T, places []int32) (g chat.Grid) {
	t.Helper()
	n := 0
	for ; n < len(places)/2 && places[2*n] >= 0; n++ {
		g = chat.Grid{Rows: max(g.Rows, int(places[2*n+1])+1), Cols: max(g.Cols, int(places[2*n])+1)}
	}
	var rowMajor []int32
	for i := range n {
		rowMajor = append(rowMajor, places[2*i+1], places[2*i])
	}
	if !slices.Equal(g.AppendPlaces(nil), rowMajor) {
		t.Fatalf("patches at %v are not those of a grid in rows", places)
	}
	return g
}

func (c gemmaCase) compareLogits(t *testing.T, g *Generator) {
	t.Helper()
	require.NoError(t, g.reserveCache(t.Context(), len(c.prompt.IDs)+32))
	p, _, err := g.prefill(t.Context(), newSequence(c.prompt, c.images, g.frames(c.clips)))
	require.NoError(t, err)
	got := make([]float32, p.logits.Size())
	require.NoError(t, engine.DownloadTemp(g.Device, p.exe, p.logits.View(), got))
	tol := golden.Tolerance{Atol: 5e-4}
	if g.Device.Info().Kind != "cpu" {
		tol.Rtol = 1e-4
	}
	golden.Compare(t, c.name+" logits", got, c.logits, tol)
}
