package figures

import (
	"image"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/internal/require"
)

func TestSimilarity(t *testing.T) {
	got := Similarity([][]float32{{1, 2}, {1, 2}, {-2, -4}, {-2, 1}, {0, 0}})
	want := [][]float64{{1, 1, -1, 0, 0}, {1, 1, -1, 0, 0}, {-1, -1, 1, 0, 0}, {0, 0, 0, 1, 0}, {0, 0, 0, 0, 0}}
	for i := range want {
		for j := range want[i] {
			if math.Abs(got[i][j]-want[i][j]) > 1e-12 {
				t.Errorf("vectors %d and %d: %g, want %g", i, j, got[i][j], want[i][j])
			}
		}
	}
}

// TestPositions: with equal columns and two opposite halves of rows, the maps are red in a
// position's own half and blue in the other.
func TestPositions(t *testing.T) {
	rows, columns := [][]float32{{1, 0}, {1, 0}, {-1, 0}, {-1, 0}}, [][]float32{{0, 0}, {0, 0}, {0, 0}, {0, 0}}
	path := filepath.Join(t.TempDir(), "positions.png")
	require.NoError(t, Positions(path, rows, columns))
	img := open(t, path)
	red, blue := balance.at(1), balance.at(0)
	for own := range 16 {
		at := image.Pt(margin+own%4*(mapSide+mapGap), margin+66+own/4*(mapSide+mapGap))
		for p := range 16 {
			r := cell(image.Rectangle{at, at.Add(image.Pt(mapSide, mapSide))}, squareGrid(4), p)
			want := red
			if own/8 != p/8 {
				want = blue
			}
			if got := img.At((r.Min.X+r.Max.X)/2, (r.Min.Y+r.Max.Y)/2); got != color.Color(want) {
				t.Errorf("map of position %d, position %d: %v, want %v", own, p, got, want)
			}
		}
	}
}

// TestPrincipal: filters made of two patterns, one four times as strong, have these as
// components with 16/17 and 1/17 of the energy.
func TestPrincipal(t *testing.T) {
	a, b := make([]float32, 12), make([]float32, 12)
	for i := range a {
		a[i], b[i] = 1, float32(1-2*(i%2))
	}
	var filters [][]float32
	for i := range 6 {
		f := make([]float32, 12)
		for j := range f {
			sign := float32(1 - 2*(i%2))
			f[j] = 4*a[j] + sign*b[j]
		}
		filters = append(filters, f)
	}
	parts, shares, err := principal(filters, 8)
	require.NoError(t, err)
	if len(parts) != 2 || math.Abs(shares[0]-16./17) > 1e-9 || math.Abs(shares[1]-1./17) > 1e-9 {
		t.Fatalf("%d components with shares %v, want 16/17 and 1/17", len(parts), shares)
	}
	for i, want := range [][]float32{a, b} {
		along := 0.0
		for j, v := range parts[i] {
			along += v * float64(want[j])
		}
		if length := math.Sqrt(dot64(parts[i]) * 12); math.Abs(math.Abs(along)/length-1) > 1e-9 {
			t.Errorf("component %d has a cosine of %g to its pattern", i, along/length)
		}
	}
	path := filepath.Join(t.TempDir(), "filters.png")
	require.NoError(t, Filters(path, filters, 2))
	open(t, path)
	filters[0][0] = float32(math.NaN())
	if _, _, err := principal(filters, 8); err == nil {
		t.Error("a NaN in a filter was accepted")
	}
}

func dot64(v []float64) (sum float64) {
	for _, x := range v {
		sum += x * x
	}
	return sum
}

// TestPatches: the patch with an edge is enlarged.
func TestPatches(t *testing.T) {
	const side, patch = 32, 8
	pixels := slices.Repeat([]byte{250}, 3*side*side)
	for y := 16; y < 20; y++ { // the upper half of patch 9
		for x := 8; x < 16; x++ {
			copy(pixels[3*(y*side+x):], []byte{200, 10, 30})
		}
	}
	if got := variedPatches(pixels, squareGrid(side/patch), patch, 2); !slices.Equal(got, []int{9, 15}) {
		t.Errorf("patches %v are enlarged, want 9 with the edge and 15, the last plain one", got)
	}
	path := filepath.Join(t.TempDir(), "patches.png")
	require.NoError(t, Patches(path, pixels, squareGrid(side/patch), patch))
	img := open(t, path)
	found := false
	for i := range zoomed {
		x := margin + cutSide + zoomStart + i%zoomWide*(zoomSide+zoomGap) + zoomSide/2
		y := margin + 56 + i/zoomWide*(zoomSide+zoomLine+36)
		upper, lower := img.At(x, y+zoomSide/4), img.At(x, y+3*zoomSide/4)
		found = found || upper == color.Color(color.RGBA{200, 10, 30, 255}) && lower == color.Color(color.RGBA{250, 250, 250, 255})
	}
	if !found {
		t.Error("no enlarged patch is red at the top and white at the bottom")
	}
}
