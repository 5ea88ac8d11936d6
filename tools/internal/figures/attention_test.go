package figures

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/vlm"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	must(t, err)
	return img
}

// planted is an explanation of two words whose attention lies on one patch each.
func planted(pictures, grid int, peaks ...int) vlm.Explained {
	e := vlm.Explained{Pictures: pictures, Grid: grid, Layers: 2, Heads: 3, Omitted: 4}
	for _, p := range peaks {
		look := vlm.Look{Patches: make([]float64, pictures*grid*grid), Prompt: 0.5}
		look.Patches[p] = 0.5
		e.Words = append(e.Words, vlm.ExplainedWord{Text: "word", Mean: look, Layers: []vlm.Look{look, look}})
	}
	return e
}

// TestAttentionPeak: what was planted on a patch is dark red on that patch's place in
// the word's picture and nowhere else in it.
func TestAttentionPeak(t *testing.T) {
	const size, grid = 64, 8
	white := make([]byte, 3*size*size)
	for i := range white {
		white[i] = 255
	}
	for _, c := range []struct {
		pictures int
		peaks    []int
	}{{1, []int{0, 63}}, {1, []int{13, 40}}, {2, []int{5, 64 + 18}}, {3, []int{128 + 63, 64}}} {
		q := Asked{Prompt: "what is this?"}
		for range c.pictures {
			q.Pictures = append(q.Pictures, Pixels(white, size))
		}
		path := filepath.Join(t.TempDir(), "out.png")
		must(t, Attention(path, q, planted(c.pictures, grid, c.peaks...)))
		img := open(t, path)
		top := firstTile(t, img)
		for w, peak := range c.peaks {
			at := image.Pt(margin+(w+1)*(tile+tileGap), top)
			for i, r := range mosaic(at, tile, c.pictures) {
				for p := range grid * grid {
					middle := cell(r, grid, p)
					r, g, b, _ := img.At((middle.Min.X+middle.Max.X)/2, (middle.Min.Y+middle.Max.Y)/2).RGBA()
					hot := r>>8 < 200 && g>>8 < 80 && b>>8 < 100
					if want := i*grid*grid+p == peak; hot != want {
						t.Errorf("%d pictures, word %d, patch %d: colour %d,%d,%d, want the peak at %d", c.pictures, w, i*grid*grid+p, r>>8, g>>8, b>>8, peak)
					}
				}
			}
		}
	}
}

// firstTile finds where the pictures begin: below the text, which paper separates.
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
	t.Fatal("there is no picture's edge")
	return 0
}

func TestAttentionUnwritable(t *testing.T) {
	q := Asked{Pictures: []image.Image{Pixels(make([]byte, 3*64*64), 64)}}
	err := Attention(filepath.Join(t.TempDir(), "none", "out.png"), q, planted(1, 8, 3))
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v, want that there is no such folder", err)
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
		if next != layers || len(bands) > mostMinis {
			t.Errorf("%d layers: %d bands up to layer %d", layers, len(bands), next)
		}
	}
}

func TestWrap(t *testing.T) {
	f, err := newTypefaces()
	must(t, err)
	for _, c := range []struct {
		text        string
		width, most int
		want        []string
	}{
		{"", 100, 2, []string{""}},
		{"one two", 300, 2, []string{"one two"}},
		{"one two three", 60, 9, []string{"one two", "three"}},
		{"one two three four", 60, 1, []string{"one tw…"}},
		{strings.Repeat("x", 50), 40, 2, []string{"xxx…"}},
	} {
		got := Wrap(f.text, c.text, c.width, c.most)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%q in %d pixels: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
