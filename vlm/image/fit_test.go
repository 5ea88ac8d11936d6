package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/golden"
	"patchwork/nn/safetensors"
)

func gemmaFit(budget int) Fit { return Fit{Patch: 48, MaxPatches: budget, Fill: true} }

// Pictures as Gemma 4's processor makes them: sizes, and every byte.
func TestGoldenGemmaPictures(t *testing.T) {
	for _, folder := range golden.Dirs(t, "gemma4_vision") {
		var index struct {
			Images []struct {
				File          string
				Width, Height int
				Expected      []struct {
					Budget  int
					Resized [2]int
					Grid    [2]int
					Tokens  int
					SHA256  string
				}
			}
		}
		golden.JSON(t, filepath.Join(folder, "index.json"), &index)
		if len(index.Images) == 0 {
			t.Fatal("no pictures")
		}
		tensors := openPatches(t, filepath.Join(folder, "patches.safetensors"))
		for _, entry := range index.Images {
			name := strings.TrimSuffix(filepath.Base(entry.File), ".png")
			data := readFile(t, filepath.Join(folder, entry.File))
			img := mustDecode(t, data)
			for _, e := range entry.Expected {
				f := gemmaFit(e.Budget)
				rows, cols, err := f.Grid(entry.Width, entry.Height)
				if err != nil || [2]int{cols, rows} != e.Grid || rows*cols != e.Tokens || [2]int{48 * cols, 48 * rows} != e.Resized {
					t.Errorf("%s at %d: %d rows and %d columns (%v), want %v", name, e.Budget, rows, cols, err, e.Grid)
					continue
				}
				patches, w, h, err := PrepareFit(data, f)
				if err != nil || w != entry.Width || h != entry.Height {
					t.Fatalf("%s at %d: %dx%d, %v", name, e.Budget, w, h, err)
				}
				again, err := f.Apply(img)
				if err != nil || !bytes.Equal(again, patches) {
					t.Errorf("%s at %d: Apply differs from PrepareFit (%v)", name, e.Budget, err)
				}
				sum := sha256.Sum256(Unpatch(patches, rows, cols, 48))
				if got := hex.EncodeToString(sum[:]); got != e.SHA256 {
					t.Errorf("%s at %d: sha256 %s, want %s", name, e.Budget, got, e.SHA256)
				}
				if tensors != nil {
					comparePatches(t, tensors, fmt.Sprintf("%s.%d", name, e.Budget), patches, cols)
				}
			}
		}
	}
}

// openPatches opens a file of patches; nil: a set without.
func openPatches(t *testing.T, path string) *safetensors.File {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	file, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// comparePatches compares some patches as the model takes them, and their positions.
func comparePatches(t *testing.T, file *safetensors.File, name string, patches []byte, cols int) {
	t.Helper()
	index, err1 := file.Int32(name + ".index")
	want, err2 := file.Float32(name + ".patches")
	positions, err3 := file.Int32(name + ".positions")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	const size = 48 * 48 * 3
	for k, patch := range index {
		if x, y := patch%int32(cols), patch/int32(cols); x != positions[2*k] || y != positions[2*k+1] {
			t.Errorf("%s: patch %d at (%d, %d), want (%d, %d)", name, patch, x, y, positions[2*k], positions[2*k+1])
		}
		for i, b := range patches[int(patch)*size:][:size] {
			if got := float32(b) * (1 / float32(255)); got != want[k*size+i] {
				t.Fatalf("%s: value %d of patch %d is %g, want %g", name, i, patch, got, want[k*size+i])
			}
		}
	}
}

func TestGridOfExtremeSizes(t *testing.T) {
	for _, c := range []struct {
		f          Fit
		w, h       int
		rows, cols int // 0: an error
	}{
		{gemmaFit(70), 1, 1, 8, 8}, {gemmaFit(70), 1 << 20, 1, 1, 70}, {gemmaFit(70), 1, 1 << 20, 70, 1}, {gemmaFit(1120), 100, 1, 3, 334},
		{gemmaFit(1120), 8000, 8000, 33, 33}, {gemmaFit(70), 1<<20 + 1, 1, 0, 0}, {gemmaFit(70), 0, 5, 0, 0},
		{gemmaFit(1), 48, 48, 1, 1}, {gemmaFit(1), 49, 48, 1, 1}, {gemmaFit(1), 17, 17, 0, 0}, // both sides round to 0
		{Fit{Patch: 8, MaxPatches: 64}, 64, 64, 8, 8}, {Fit{Patch: 8, MaxPatches: 64}, 65, 71, 8, 7}, {Fit{Patch: 8, MaxPatches: 64}, 3, 5, 1, 1},
		{Fit{Patch: 8, MaxPatches: 64}, 640, 640, 8, 8}, {Fit{Patch: 8, MaxPatches: 64}, 640, 320, 5, 11}, {Fit{Patch: 8, MaxPatches: 64}, 100000, 1, 1, 64},
		{Fit{Patch: 8, MaxPatches: 64, MaxSide: 16}, 100000, 1, 1, 16}, {Fit{Patch: 8, MaxPatches: 64, MaxSide: 16}, 7, 4000, 16, 1},
		{Fit{Size: 64, Patch: 8}, 3, 1000, 8, 8},
	} {
		rows, cols, err := c.f.Grid(c.w, c.h)
		var shape *ShapeError
		if rows != c.rows || cols != c.cols || (err != nil) != (c.rows == 0) || err != nil && !errors.As(err, &shape) {
			t.Errorf("%dx%d with %+v: %d rows, %d columns, %v; want %d and %d", c.w, c.h, c.f, rows, cols, err, c.rows, c.cols)
		}
	}
}

// Grids of every size have at most MaxPatches, and at least one, and their sides' ratio is about the
// image's where a side has several patches.
func TestGridBounds(t *testing.T) {
	for _, f := range []Fit{{Patch: 8, MaxPatches: 40}, {Patch: 8, MaxPatches: 40, MaxSide: 9}, {Patch: 3, MaxPatches: 1}, {Patch: 8, MaxPatches: 70, Fill: true}} {
		for w := 1; w < 400; w += 7 {
			for h := 1; h < 400; h += 5 {
				rows, cols, err := f.Grid(w, h)
				if err != nil || rows < 1 || cols < 1 || rows*cols > f.MaxPatches || f.MaxSide > 0 && max(rows, cols) > f.MaxSide {
					t.Fatalf("%dx%d with %+v: %d rows, %d columns, %v", w, h, f, rows, cols, err)
				}
				if f.MaxSide == 0 && min(rows, cols) >= 3 {
					if ratio := float64(cols) / float64(rows) * float64(h) / float64(w); math.Abs(math.Log(ratio)) > math.Log(4.0/3) {
						t.Errorf("%dx%d with %+v: %d rows, %d columns", w, h, f, rows, cols)
					}
				}
			}
		}
	}
}

// slowCubic resizes along one axis as PyTorch does 8-bit images with antialias: a plain form of
// reference/gemma_images.py, with 64-bit sums.
func slowCubic(in []byte, n, size int, at func(i, line int) int, lines int) []byte {
	weight := func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return (1.5*x-2.5)*x*x + 1
		case x < 2:
			return ((-0.5*x+2.5)*x-4)*x + 2
		}
		return 0
	}
	scale := float64(n) / float64(size)
	stretch := math.Max(scale, 1)
	lows, all, largest := make([]int, size), make([][]float64, size), 0.0
	for i := range size {
		centre := scale * (float64(i) + 0.5)
		low, high := max(int(centre-2*stretch+0.5), 0), min(int(centre+2*stretch+0.5), n)
		total := 0.0
		for j := low; j < high; j++ {
			w := weight((float64(j) - centre + 0.5) * (1 / stretch))
			all[i], total = append(all[i], w), total+w
		}
		for j := range all[i] {
			all[i][j] /= total
			largest = max(largest, all[i][j])
		}
		lows[i] = low
	}
	bits := 0
	for bits < 22 && int(0.5+largest*float64(int(1)<<(bits+1))) < 1<<15 {
		bits++
	}
	out := make([]byte, size*lines)
	for i, weights := range all {
		for line := range lines {
			sum := int64(1) << (bits - 1)
			for j, w := range weights {
				sum += int64(math.Trunc(w*float64(int(1)<<bits)+math.Copysign(0.5, w))) * int64(in[at(lows[i]+j, line)])
			}
			out[i*lines+line] = byte(min(255, max(0, sum>>bits)))
		}
	}
	return out
}

func TestCubicResize(t *testing.T) {
	for _, c := range [][4]int{
		{1, 1, 4, 4}, {1, 9, 4, 8}, {9, 1, 4, 3}, {8, 8, 8, 8}, {8, 9, 8, 8}, {100, 37, 16, 48}, {37, 100, 96, 16}, {301, 207, 64, 32},
		{64, 64, 63, 65}, {63, 64, 64, 128}, {2, 300, 8, 4}, {5, 3, 480, 288}, {1000, 2, 16, 16}, {3, 700, 48, 144},
	} {
		p := noise(c[0], c[1])
		for i := range p.Pix { // the extremes, where sums are largest
			if p.Pix[i] < 85 {
				p.Pix[i] = 0
			} else if p.Pix[i] > 170 {
				p.Pix[i] = 255
			}
		}
		w, h := c[2], c[3]
		wide := slowAxisResult(p.Pix, p.W, w, p.H)
		want := slowCubic(wide, p.H, h, func(y, line int) int { return line/3*p.H*3 + y*3 + line%3 }, w*3)
		f := Fit{Fill: true}
		got := f.resize(p.W, p.H, w, h, func(_ []byte, y int) []byte { return p.Pix[y*p.W*3 : min(len(p.Pix), (y+1)*p.W*3+spare)] })
		if !bytes.Equal(got, want) {
			t.Errorf("%dx%d to %dx%d: differs from the slow resize", p.W, p.H, w, h)
		}
	}
}

// slowAxisResult resizes the rows of an image: [w, h*3].
func slowAxisResult(pix []byte, from, w, h int) []byte {
	return slowCubic(pix, from, w, func(x, line int) int { return (line/3*from+x)*3 + line%3 }, h*3)
}

func TestPatches(t *testing.T) {
	const rows, cols, patch = 2, 3, 2
	pix := noise(cols*patch, rows*patch).Pix
	got := Patches(pix, rows, cols, patch)
	for i, b := range got {
		p, y, x, c := i/12, i/6%2, i/3%2, i%3
		if want := pix[((p/cols*patch+y)*cols*patch+p%cols*patch+x)*3+c]; b != want {
			t.Fatalf("byte %d is %d, want %d", i, b, want)
		}
	}
	if !bytes.Equal(Unpatch(got, rows, cols, patch), pix) {
		t.Error("Unpatch is not the inverse")
	}
}

func BenchmarkGemmaPicture(b *testing.B) {
	p := noise(1920, 1080)
	for _, budget := range []int{280, 1120} {
		b.Run(fmt.Sprint(budget), func(b *testing.B) {
			for b.Loop() {
				if _, err := gemmaFit(budget).Apply(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestRegion: the region is where the pixels of a cut-off image come from, which are its coordinates here.
func TestRegion(t *testing.T) {
	const size = 40
	for _, s := range [][2]int{{40, 40}, {120, 40}, {40, 121}, {300, 200}, {201, 333}, {20, 31}} {
		w, h := s[0], s[1]
		img := &RGB{W: w, H: h, Pix: make([]byte, w*h*3)}
		for i := range w * h {
			img.Pix[3*i], img.Pix[3*i+1] = byte(255*(i%w)/(w-1)), byte(255*(i/w)/(h-1))
		}
		f := Fit{Size: size, Patch: 8}
		pix, err := f.Apply(img)
		if err != nil {
			t.Fatal(err)
		}
		left, top, width, height := f.Region(w, h)
		for _, at := range [][2]int{{5, 5}, {35, 5}, {5, 35}, {20, 20}} {
			p := pix[3*(at[1]*size+at[0]):]
			x, y := left+width*(float64(at[0])+0.5)/size, top+height*(float64(at[1])+0.5)/size
			// A pixel of the image is up to 255/20 wide, and its value is that of its edges at the image's edges.
			if math.Abs(float64(p[0])-255*x) > 10 || math.Abs(float64(p[1])-255*y) > 10 {
				t.Errorf("%d×%d: pixel %v is from (%d, %d), by the region from (%.0f, %.0f)", w, h, at, p[0], p[1], 255*x, 255*y)
			}
		}
	}
	if left, top, width, height := gemmaFit(70).Region(300, 200); left != 0 || top != 0 || width != 1 || height != 1 {
		t.Errorf("in its aspect ratio: %g, %g, %g, %g", left, top, width, height)
	}
}
