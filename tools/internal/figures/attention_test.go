package figures

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/chat"
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
func planted(grids []chat.Grid, peaks ...int) generate.Explanation {
	e := generate.Explanation{Grids: grids, Layers: 2, Heads: 3, Omitted: 4}
	patches := 0
	for _, g := range grids {
		patches += g.Tokens()
	}
	for _, p := range peaks {
		attention := generate.AttentionMap{Patches: make([]float64, patches), Prompt: 0.5}
		attention.Patches[p] = 0.5
		e.Words = append(e.Words, generate.ExplainedWord{Text: "word", Mean: attention, Layers: []generate.AttentionMap{attention, attention}})
	}
	return e
}

// TestAttentionPeak: the patch with the planted attention is dark red in the word's heat
// map, and no other patch is, also in images of other shapes than a square.
func TestAttentionPeak(t *testing.T) {
	const patch = 8
	square, wide, tall := chat.Grid{Rows: 8, Cols: 8}, chat.Grid{Rows: 4, Cols: 9}, chat.Grid{Rows: 6, Cols: 2}
	for _, c := range []struct {
		grids []chat.Grid
		peaks []int
	}{
		{[]chat.Grid{square}, []int{0, 63}}, {[]chat.Grid{square}, []int{13, 40}}, {[]chat.Grid{square, square}, []int{5, 64 + 18}},
		{[]chat.Grid{square, square, square}, []int{128 + 63, 64}}, {[]chat.Grid{wide}, []int{8, 27}}, {[]chat.Grid{wide, tall, square}, []int{35, 36, 36 + 11, 48}},
	} {
		q := Input{Prompt: "what is this?"}
		for _, g := range c.grids {
			q.Images = append(q.Images, Pixels(bytes.Repeat([]byte{255}, 3*patch*patch*g.Tokens()), patch*g.Cols))
		}
		path := filepath.Join(t.TempDir(), "out.png")
		require.NoError(t, Attention(path, q, planted(c.grids, c.peaks...)))
		img := open(t, path)
		top := firstTile(t, img) - fitted(mosaic(image.Point{}, tile, len(c.grids))[0], q.Images[0]).Min.Y
		for w, peak := range c.peaks {
			at, n := image.Pt(margin+(w+1)%columns*(tile+tileGap), top), 0
			if w+1 >= columns {
				break
			}
			for i, r := range mosaic(at, tile, len(c.grids)) {
				for p := range c.grids[i].Tokens() {
					middle := cell(fitted(r, q.Images[i]), c.grids[i], p)
					r, g, b, _ := img.At((middle.Min.X+middle.Max.X)/2, (middle.Min.Y+middle.Max.Y)/2).RGBA()
					hot := r>>8 < 200 && g>>8 < 80 && b>>8 < 100
					if want := n == peak; hot != want {
						t.Errorf("%v, word %d, patch %d: colour %d,%d,%d, want the peak at %d", c.grids, w, n, r>>8, g>>8, b>>8, peak)
					}
					n++
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
	err := Attention(filepath.Join(t.TempDir(), "none", "out.png"), q, planted([]chat.Grid{squareGrid(8)}, 3))
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
