package generate

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// picturePrompt is a random prompt with pictures.
type picturePrompt struct {
	chat.Tokens
	pixels [][]byte
	config vlm.Config
	random *rand.Rand
}

func (p *picturePrompt) text(n int) {
	for range n {
		p.IDs = append(p.IDs, int32(3+p.random.IntN(300)))
	}
}

func (p *picturePrompt) picture(rows, cols int) {
	p.Images, p.Grids = append(p.Images, len(p.IDs)), append(p.Grids, chat.Grid{Rows: rows, Cols: cols})
	pixels := make([]byte, rows*cols*p.config.Vision.Features())
	for i := range pixels {
		pixels[i] = byte(p.random.Uint32())
	}
	for range rows * cols {
		p.IDs = append(p.IDs, int32(p.config.ImageTokenID))
	}
	p.pixels = append(p.pixels, pixels)
}

// gemmaWithPictures is a small random Gemma 4 and an empty prompt.
func gemmaWithPictures(t *testing.T, dev engine.Device) (*vlm.Runner, *picturePrompt) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(golden.Dir(t, "tiny_gemma4"), "config.json"))
	require.NoError(t, err)
	c, err := vlm.ParseGemma(data)
	require.NoError(t, err)
	m, err := vlm.NewModel(c, vlm.Init{Std: 0.1, Embedding: 0.1, Positions: 0.3})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 5))
	return &vlm.Runner{Model: m, Device: dev}, &picturePrompt{config: c, random: rand.New(rand.NewPCG(1, 2))}
}

// Pictures of several shapes, from their bytes: generation, which encodes them one by one, gives the
// logits of one pass over the whole prompt, and reuses a cached picture.
func TestGemmaPictures(t *testing.T) {
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			l, p := gemmaWithPictures(t, dev)
			g := New(l)
			defer g.Close()
			var last []float32
			for turn, add := range []func(){func() { p.text(5); p.picture(3, 4); p.text(3) }, func() { p.text(2); p.picture(1, 7); p.picture(5, 2); p.text(4) }} {
				add()
				got, cached := lastLogits(t, g, p.Tokens, p.pixels)
				if turn > 0 && cached < 12 {
					t.Errorf("%d tokens were cached", cached)
				}
				sample := &packing.Sample{IDs: p.IDs, LossMask: make([]bool, len(p.IDs)), Images: p.Images, Grids: p.Grids}
				var pixels []byte
				for _, one := range p.pixels {
					pixels = append(pixels, one...)
				}
				all := vlmtest.LogitsOfRow(t, l, []*packing.Sample{sample}, pixels)
				want := all[len(all)-p.config.Text.VocabSize:]
				for i, v := range want {
					want[i] = float32(30 * math.Tanh(float64(v)/30)) // the soft cap of generation
				}
				golden.Compare(t, "logits", got, want, golden.Tolerance{Atol: 1e-3}) // sums of some 100 terms in another order
				last = got
			}
			p.pixels[0] = slices.Clone(p.pixels[0])
			p.pixels[0][7] ^= 255
			if changed, cached := lastLogits(t, g, p.Tokens, p.pixels); cached > 5 || slices.Equal(changed, last) {
				t.Errorf("another picture: %d tokens were cached, or the logits did not change", cached)
			}
		})
	}
}
