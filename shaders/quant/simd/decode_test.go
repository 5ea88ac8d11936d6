package simd

import (
	"math"
	"testing"

	"patchwork/shaders/quant"
)

// TestDecode compares every group of the decoders with the bits of the Go form, with gaps between rows,
// which are not touched.
func TestDecode(t *testing.T) {
	const rows, blocks, gap = 5, 3, 7
	for _, f := range quant.Formats {
		elements, size := f.Block()
		for name, data := range matrices(f, rows, blocks*elements) {
			want := make([]float32, rows*blocks*elements)
			f.Decode(want, data)
			whole := make([]float32, len(want))
			Decode(f, whole, data)
			for i, w := range whole {
				if math.Float32bits(w) != math.Float32bits(want[i]) {
					t.Fatalf("%v %s: value %d of whole blocks is %g, want %g", f, name, i, w, want[i])
				}
			}
			for _, set := range Sets() {
				for block := range blocks {
					for group := range elements / Values {
						got := make([]float32, rows*(Values+gap))
						set.Formats[f].Decode(&got[0], Values+gap, &data[block*size], blocks*size, rows, group)
						for i, g := range got {
							row, j := i/(Values+gap), i%(Values+gap)
							w := float32(0)
							if j < Values {
								w = want[(row*blocks+block)*elements+group*Values+j]
							}
							if math.Float32bits(g) != math.Float32bits(w) {
								t.Fatalf("%s %v %s, group %d of block %d, row %d: value %d is %g, want %g",
									set.Name, f, name, group, block, row, j, g, w)
							}
						}
					}
				}
			}
		}
	}
}
