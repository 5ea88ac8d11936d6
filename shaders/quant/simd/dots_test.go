package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"patchwork/shaders/half"
	"patchwork/shaders/quant"
)

// scaleAt are the places of the F16 scales of a block.
var scaleAt = map[quant.Format][]int{
	quant.Q8_0: {0}, quant.Q4_0: {0}, quant.Q4_1: {0, 2}, quant.Q5_0: {0}, quant.Q5_1: {0, 2},
	quant.Q4_K: {0, 2}, quant.Q5_K: {0, 2}, quant.Q6_K: {208},
}

// matrices are matrices of n rows of k values: random ones, and all extremes of the integers and
// scales, those of a half block to itself.
func matrices(f quant.Format, n, k int) map[string][]byte {
	elements, size := f.Block()
	count := n * k / elements
	all := map[string][]byte{"random": quant.Random(f, count, 1)}
	for name, b := range map[string]byte{"low": 0, "high": 0xff, "most negative": 0x80, "most positive": 0x7f} {
		data := make([]byte, count*size)
		for i := range data {
			data[i] = b
		}
		for i := range count {
			for at, offset := range scaleAt[f] {
				binary.LittleEndian.PutUint16(data[i*size+offset:], half.ToF16([]float32{-0.25, 3, 0}[(i+at)%3]))
			}
		}
		all[name] = data
	}
	return all
}

// TestDots compares every kernel with sums in float64 over the same 8-bit values, and the bits of a
// row alone with those of several, of all rows of b with those of one, and of all instruction sets.
func TestDots(t *testing.T) {
	for _, f := range quant.Formats {
		bits := map[string]uint32{} // of c[r,j]
		for _, set := range Sets() {
			for _, k := range []int{256, 512, 1280, 32, 96, 576} {
				if elements, _ := f.Block(); k%elements != 0 {
					continue
				}
				const n = 5
				for name, b := range matrices(f, n, k) {
					for rows := 1; rows <= len(set.Formats[f].Dots); rows++ {
						checkDots(t, fmt.Sprintf("%v k=%d %s", f, k, name), set, f, rows, n, k, b, bits)
						checkDots(t, fmt.Sprintf("%v k=%d %s", f, k, name), set, f, rows, 1, k, b, bits)
					}
				}
			}
		}
	}
}

// activations are rows with values of either sign, of one sign, and of extreme sizes.
func activations(rows, k int) []float32 {
	random := rand.New(rand.NewPCG(1, uint64(k)))
	a := make([]float32, rows*k)
	for i := range a {
		a[i] = float32(random.NormFloat64())
		switch i / Values % 5 {
		case 1:
			a[i] = 1
		case 2:
			a[i] *= 1e-20
		case 3:
			a[i] = -1000
		}
	}
	return a
}

func checkDots(t *testing.T, name string, set Set, f quant.Format, rows, n, k int, b []byte, bits map[string]uint32) {
	t.Helper()
	kernels := set.Formats[f]
	a, values := activations(rows, k), make([]float32, n*k)
	f.Decode(values, b)
	blocks, scales := make([]Block, rows*k/Values), make([]Scale, rows*k/Values)
	kernels.Quantize(blocks, scales, a, k, rows, k)
	separate := make([]Scale, len(scales))
	(&Format{Offset: kernels.Offset}).Quantize(blocks, separate, a, k, rows, k)
	ldc := n + 3
	for _, beta := range []float32{0, 1, -2} {
		c := make([]float32, rows*ldc)
		for i := range c {
			c[i] = 7
		}
		kernels.Dots[rows-1](k/Values, &blocks[0].Values[0], &scales[0].Scale, &b[0], n, &c[0], ldc, beta)
		for r := range rows {
			for j := range ldc {
				got, want, size := float64(c[r*ldc+j]), 7.0, 0.0
				if j < n {
					want *= float64(beta)
					for l := range k {
						i := l/Values*rows + r
						term := float64(separate[i].Scale) * float64(blocks[i].Values[l%Values]) * float64(values[j*k+l])
						want, size = want+term, size+math.Abs(term)
					}
				}
				// Each block's product is rounded a few times; a minimum is larger than what remains.
				if math.Abs(got-want) > 4e-6*(size+math.Abs(want)) {
					t.Fatalf("%s %s, %d rows, beta %g: c[%d,%d] = %g, want %g", set.Name, name, rows, beta, r, j, got, want)
				}
				if j >= n || beta != 0 {
					continue
				}
				key := fmt.Sprint(name, r, j)
				if b, known := bits[key]; known && b != math.Float32bits(c[r*ldc+j]) {
					t.Fatalf("%s %s: c[%d,%d] = %g with %d rows, elsewhere %g",
						set.Name, name, r, j, got, rows, math.Float32frombits(b))
				}
				bits[key] = math.Float32bits(c[r*ldc+j])
			}
		}
	}
}

// TestQuantize compares the assembly with the Go form, and both with the values.
func TestQuantize(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	const rows, k, lda = 3, 288, 300
	a := activations(rows, lda)
	for i, v := range []float32{inf, -inf, nan, 3e38, -3e38, 1e-35, 1e-37, 1e-40} {
		a[i*Values+i] = v
	}
	a[lda], a[lda+1], a[lda+2], a[lda+3] = 127, 0.5, -1.5, 2.5 // the largest of the block: ties
	for i := range Values - 4 {
		a[lda+4+i] = float32(i)
	}
	for _, offset := range []int{0, 8, 128} {
		blocks, scales := make([]Block, rows*k/Values), make([]Scale, rows*k/Values)
		f := Format{Offset: offset}
		f.Quantize(blocks, scales, a, lda, rows, k)
		wantBlocks, wantScales := make([]Block, len(blocks)), make([]Scale, len(blocks))
		for r := range rows {
			quantizeGo(wantBlocks[r:], wantScales[r:], rows, a[r*lda:][:k], offset)
		}
		for i := range blocks {
			if s := scales[i].Scale - scales[i].Scale; s != 0 { // not finite
				if w := wantScales[i].Scale; w == w {
					t.Errorf("block %d: scale %g, want %g", i, scales[i].Scale, w)
				}
				continue
			}
			if blocks[i] != wantBlocks[i] || scales[i] != wantScales[i] {
				t.Errorf("block %d, offset %d: %v %v, want %v %v",
					i, offset, scales[i], blocks[i], wantScales[i], wantBlocks[i])
			}
			at := i%rows*lda + i/rows*Values
			for j, q := range blocks[i].Values {
				x, scale := float64(a[at+j]), float64(scales[i].Scale)
				if got := scale * float64(q); math.Abs(got-x) > scale*0.5001+least {
					t.Errorf("value %g of block %d is %g, in steps of %g", x, i, got, scale)
				}
			}
		}
	}
	if !math.IsNaN(float64(scales0(a[:Values]))) {
		t.Error("the scale of a block with an infinity is finite")
	}
}

func scales0(a []float32) float32 {
	var block [1]Block
	var scale [1]Scale
	quantizeGo(block[:], scale[:], 1, a, 0)
	return scale[0].Scale
}
