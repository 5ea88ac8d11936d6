package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// keepRecipe is testRecipe for images in their aspect ratio.
func keepRecipe(t testing.TB, steps int) Recipe {
	t.Helper()
	r := testRecipe(t, steps)
	require.NoError(t, r.Vision.SetImageSize("keep:64"))
	return r
}

// A model of images in their aspect ratio takes square ones of whole patches as a model of square
// images does: the losses of a run are equal to the bit.
func TestKeepsSquareImages(t *testing.T) {
	files := []string{vlmtest.Data(t, 24)} // images of 64×64 pixels
	var all [2][]float64
	for i, size := range []string{"64", "keep:64"} {
		r := testRecipe(t, 6)
		require.NoError(t, r.Vision.SetImageSize(size))
		r.Vision.MaxGrid = 64
		out := filepath.Join(t.TempDir(), "run")
		_, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0)})
		require.NoError(t, err)
		all[i] = losses(t, out)
	}
	if len(all[0]) != 6 || !slices.Equal(all[0], all[1]) {
		t.Errorf("losses %v of square images, %v of images that keep their aspect ratio", all[0], all[1])
	}
}

// A run on images of many shapes learns; interrupted and resumed it has the same losses and answers; its
// model answers about images of every shape.
func TestMixedShapes(t *testing.T) {
	files, r := []string{vlmtest.ShapesData(t, 63)}, keepRecipe(t, 60)
	r.SaveEvery, r.Flip, r.ValEvery, r.HoldOut = 20, true, 30, 8
	r.LR, r.EmbedderLR = 3e-3, 3e-3
	whole := filepath.Join(t.TempDir(), "whole")
	result, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: whole, Device: cpu.Open(0)})
	require.NoError(t, err)
	if result.RowsSkipped != 0 {
		t.Errorf("%d rows skipped", result.RowsSkipped)
	}
	want := losses(t, whole)
	if last := mean(want[50:]); last > 0.35*want[0] || math.IsNaN(last) {
		t.Errorf("losses from %g to %g", want[0], last)
	}
	parts := filepath.Join(t.TempDir(), "parts")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: parts, Device: cpu.Open(0), Observe: Observer{Step: func(m StepMetrics) {
		if m.Step == 33 {
			cancel()
		}
	}}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: parts, Resume: true, Device: cpu.Open(0)})
	require.NoError(t, err)
	if got := losses(t, parts); !slices.Equal(got, want) {
		t.Errorf("resumed losses %v, want %v", got, want)
	}
	for _, out := range []string{whole, parts} {
		checkAnswers(t, out)
	}
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// checkAnswers asks a trained model about images of every shape.
func checkAnswers(t *testing.T, dir string) {
	t.Helper()
	model, err := pretrained.Load(dir, cpu.Open(0))
	require.NoError(t, err)
	defer model.Close()
	if v := model.Config.Vision; v.MaxPatches != 64 || v.ImageSize != 0 || v.ImageSizeName() != "keep:64" {
		t.Errorf("the model has %+v", v)
	}
	g := generate.New(model)
	defer g.Close()
	right := 0
	for i, size := range vlmtest.Sizes {
		c := vlmtest.Colors[i%3]
		pixels, w, h, err := image.PrepareFit(vlmtest.ImageOf(t, size[0], size[1], c.RGB, 1, 2, 12), model.Config.Vision.Fit())
		require.NoError(t, err)
		grid, err := model.Config.Vision.ImageGrid(w, h)
		require.NoError(t, err)
		prompt, err := model.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1, Grids: []chat.Grid{grid}}, nil)
		require.NoError(t, err)
		got, err := g.Generate(t.Context(), prompt, [][]byte{pixels}, generate.Options{MaxNewTokens: 4})
		require.NoError(t, err)
		if strings.TrimSpace(model.Processor.Tokenizer.Decode(got.IDs, true)) == c.Name {
			right++
		}
	}
	if right < len(vlmtest.Sizes)-1 {
		t.Errorf("%d of %d colours are right", right, len(vlmtest.Sizes))
	}
}

// An image alone, and among others of other shapes in one prompt or one packed row, gives the same
// logits after it.
func TestImageAmongOthers(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage} {
		t.Run(string(attention), func(t *testing.T) {
			c := vlmtest.Config(t, attention)
			require.NoError(t, c.Vision.SetImageSize("keep:40"))
			l := vlmtest.ModelWithConfig(t, dev, c, 0)
			defer l.Close()
			sample := func(sizes ...[2]int) (*packing.Sample, []byte) {
				var grids []chat.Grid
				var all []byte
				for i, size := range sizes {
					pixels, w, h, err := image.PrepareFit(vlmtest.ImageOf(t, size[0], size[1], vlmtest.Colors[i%3].RGB, 1, 2, 12), c.Vision.Fit())
					require.NoError(t, err)
					grid, err := c.Vision.ImageGrid(w, h)
					require.NoError(t, err)
					grids, all = append(grids, grid), append(all, pixels...)
				}
				tokens, err := l.Processor.Conversation(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?", Assistant: "red"}}, Images: len(sizes), Grids: grids})
				require.NoError(t, err)
				return &packing.Sample{IDs: tokens.IDs, LossMask: tokens.LossMask, Images: tokens.Images, Grids: tokens.Grids}, all
			}
			alone, pixels := sample([2]int{96, 32})
			want := vlmtest.Logits(t, l, alone, packing.InConversation, pixels)
			for _, others := range [][][2]int{{{24, 16}}, {{64, 64}, {10, 200}}, {{300, 300}, {96, 32}}} {
				first, before := sample(others...)
				got := vlmtest.LogitsOfRow(t, l, []*packing.Sample{first, alone}, append(bytes.Clone(before), pixels...))
				got = got[first.Len()*c.Text.VocabSize:]
				for i := range want {
					if got[i] != want[i] {
						t.Fatalf("after %v: logit %d is %g, want %g", others, i, got[i], want[i])
					}
				}
			}
			checkPrompt(t, l, alone, pixels, want)
		})
	}
}

// checkPrompt compares the first token that generation chooses after a prompt with the logits of one
// pass over it.
func checkPrompt(t *testing.T, l *vlm.Runner, s *packing.Sample, pixels []byte, logits []float32) {
	t.Helper()
	g := generate.New(l)
	defer g.Close()
	v := l.Config.Text.VocabSize
	for n := s.Images[0] + s.Grids[0].Tokens() + 1; n < s.Len(); n += 3 {
		got, err := g.Generate(t.Context(), chat.Tokens{IDs: s.IDs[:n], Images: s.Images, Grids: s.Grids}, [][]byte{pixels}, generate.Options{MaxNewTokens: 1})
		require.NoError(t, err)
		row := logits[(n-1)*v : n*v]
		want := int32(slices.Index(row, slices.Max(row)))
		if len(got.IDs) == 1 && got.IDs[0] != want {
			t.Errorf("after %d tokens: %d, want %d", n, got.IDs[0], want)
		}
	}
}

func TestImageSizeOfRecipe(t *testing.T) {
	r := testRecipe(t, 1)
	for _, bad := range []string{"", "keep", "keep:", "keep:0", "-8", "65", "keep:99999", "64px"} {
		v := r.Vision
		if err := v.SetImageSize(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	a, b := r, keepRecipe(t, 1)
	names, err := RecipeDiff(a, b)
	require.NoError(t, err)
	if !slices.Equal(names, []string{"image-size"}) {
		t.Errorf("differ in %v", names)
	}
	for _, size := range []string{"128", "keep:100"} {
		require.NoError(t, r.Vision.SetImageSize(size))
		if got := r.Vision.ImageSizeName(); got != size {
			t.Errorf("%s is named %s", size, got)
		}
		e, err := Estimate(r, false)
		if err != nil || e.MemoryBytes.Total <= 0 {
			t.Errorf("%s: %+v, %v", size, e, err)
		}
	}
}
