package generate

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// Pictures of several shapes, from their bytes: generation, which encodes them one by one, gives the
// logits of one pass over the whole prompt, and reuses a cached picture.
func TestGemmaPictures(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(t, "tiny_gemma4"), "config.json"))
	require.NoError(t, err)
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			c, err := vlm.ParseGemma(data)
			require.NoError(t, err)
			m, err := vlm.NewModel(c, vlm.Init{Std: 0.1, Embedding: 0.1, Positions: 0.3})
			require.NoError(t, err)
			defer m.Close()
			require.NoError(t, m.Allocate(dev, false))
			require.NoError(t, m.Params.Initialise(dev, 5))
			l := &vlm.Runner{Model: m, Device: dev}
			g := New(l)
			defer g.Close()
			random := rand.New(rand.NewPCG(1, 2))
			var prompt chat.Tokens
			var images [][]byte
			text := func(n int) {
				for range n {
					prompt.IDs = append(prompt.IDs, int32(3+random.IntN(300)))
				}
			}
			picture := func(rows, cols int) {
				prompt.Images, prompt.Grids = append(prompt.Images, len(prompt.IDs)), append(prompt.Grids, chat.Grid{Rows: rows, Cols: cols})
				pixels := make([]byte, rows*cols*c.Vision.Features())
				for i := range pixels {
					pixels[i] = byte(random.Uint32())
				}
				for range rows * cols {
					prompt.IDs = append(prompt.IDs, int32(c.ImageTokenID))
				}
				images = append(images, pixels)
			}
			var last []float32
			for turn, add := range []func(){func() { text(5); picture(3, 4); text(3) }, func() { text(2); picture(1, 7); picture(5, 2); text(4) }} {
				add()
				got, cached := lastLogits(t, g, prompt, images)
				if turn > 0 && cached < 12 {
					t.Errorf("%d tokens were cached", cached)
				}
				sample := &packing.Sample{IDs: prompt.IDs, LossMask: make([]bool, len(prompt.IDs)), Images: prompt.Images, Grids: prompt.Grids}
				var pixels []byte
				for _, p := range images {
					pixels = append(pixels, p...)
				}
				all := vlmtest.LogitsOfRow(t, l, []*packing.Sample{sample}, pixels)
				want := all[len(all)-c.Text.VocabSize:]
				for i, v := range want {
					want[i] = float32(30 * math.Tanh(float64(v)/30)) // the soft cap of generation
				}
				golden.Compare(t, "logits", got, want, golden.Tolerance{Atol: 1e-3}) // sums of some 100 terms in another order
				last = got
			}
			images[0] = slices.Clone(images[0])
			images[0][7] ^= 255
			if changed, cached := lastLogits(t, g, prompt, images); cached > 5 || slices.Equal(changed, last) {
				t.Errorf("another picture: %d tokens were cached, or the logits did not change", cached)
			}
		})
	}
}
