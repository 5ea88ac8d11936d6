package figures

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/generate"
)

func open(t testing.TB, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img
}

// planted is an explanation with words whose attention is on one patch each.
func planted(images, grid int, peaks ...int) generate.Explanation {
	e := generate.Explanation{Images: images, Grid: grid, Layers: 2, Heads: 3, Omitted: 4}
	for _, p := range peaks {
		attention := generate.AttentionMap{Patches: make([]float64, images*grid*grid), Prompt: 0.5}
		attention.Patches[p] = 0.5
		e.Words = append(e.Words, generate.ExplainedWord{Text: "word", Mean: attention, Layers: []generate.AttentionMap{attention, attention}})
	}
	return e
}

// TestAttentionPeak: the patch with the planted attention is dark red in the word's heat
// map, and no other patch is.
func TestAttentionPeak(t *testing.T) {
	const size, grid = 64, 8
	white := make([]byte, 3*size*size)
	for i := range white {
		white[i] = 255
	}
	for _, c := range []struct {
		images int
		peaks  []int
	}{{1, []int{0, 63}}, {1, []int{13, 40}}, {2, []int{5, 64 + 18}}, {3, []int{128 + 63, 64}}} {
		q := Input{Prompt: "what is this?"}
		for range c.images {
			q.Images = append(q.Images, Pixels(white, size))
		}
		path := filepath.Join(t.TempDir(), "out.png")
		require.NoError(t, Attention(path, q, planted(c.images, grid, c.peaks...)))
		img := open(t, path)
		top := firstTile(t, img)
		for w, peak := range c.peaks {
			at := image.Pt(margin+(w+1)*(tile+tileGap), top)
			for i, r := range mosaic(at, tile, c.images) {
				for p := range grid * grid {
					middle := cell(r, grid, p)
					r, g, b, _ := img.At((middle.Min.X+middle.Max.X)/2, (middle.Min.Y+middle.Max.Y)/2).RGBA()
					hot := r>>8 < 200 && g>>8 < 80 && b>>8 < 100
					if want := i*grid*grid+p == peak; hot != want {
						t.Errorf("%d images, word %d, patch %d: colour %d,%d,%d, want the peak at %d", c.images, w, i*grid*grid+p, r>>8, g>>8, b>>8, peak)
					}
				}
			}
		}
	}
}

// firstTile is the y of the first row of images, below the text.
func firstTile(t *testing.T, img image.Image) int {
	t.Helper()
	for y := range img.Bounds().Dy() {
		full := true
		for x := margin; x < margin+100 && full; x++ {
			full = img.At(x, y) == color.RGBA(line)
		}
		if full {
			return y
		}
	}
	t.Fatal("no edge of an image found")
	return 0
}

func TestAttentionUnwritable(t *testing.T) {
	q := Input{Images: []image.Image{Pixels(make([]byte, 3*64*64), 64)}}
	err := Attention(filepath.Join(t.TempDir(), "none", "out.png"), q, planted(1, 8, 3))
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v, want a missing folder", err)
	}
}

func TestLayerBands(t *testing.T) {
	for _, layers := range []int{1, 4, 8, 9, 30} {
		bands := layerBands(layers)
		next := 0
		for _, b := range bands {
			if b[0] != next || b[1] <= b[0] {
				t.Errorf("%d layers: band %v after layer %d", layers, b, next)
			}
			next = b[1]
		}
		if next != layers || len(bands) > maxMinis {
			t.Errorf("%d layers: %d bands up to layer %d", layers, len(bands), next)
		}
	}
}

func TestWrap(t *testing.T) {
	f, err := newTypefaces()
	require.NoError(t, err)
	for _, c := range []struct {
		text       string
		width, max int
		want       []string
	}{
		{"", 100, 2, []string{""}},
		{"one two", 300, 2, []string{"one two"}},
		{"one two three", 60, 9, []string{"one two", "three"}},
		{"one two three four", 60, 1, []string{"one tw…"}},
		{strings.Repeat("x", 50), 40, 2, []string{"xxx…"}},
	} {
		got := Wrap(f.text, c.text, c.width, c.max)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%q in %d pixels: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
