package simd

import (
	"math"
	"testing"

	"patchwork/shaders/quant"
)

// TestPanel compares products by panels with sums in float64 over the same 8-bit values.
func TestPanel(t *testing.T) {
	for _, set := range Sets() {
		for _, f := range quant.Formats {
			kernels := set.Formats[f]
			if kernels.Panel == nil {
				continue
			}
			for _, k := range []int{32, 96, 576} {
				for name, b := range matrices(f, PanelRows, k) {
					for rows := 1; rows <= len(kernels.PanelDots); rows++ {
						t.Run(f.String()+" "+name, func(t *testing.T) { checkPanel(t, kernels, f, rows, k, b) })
					}
				}
			}
		}
	}
}

func checkPanel(t *testing.T, kernels Format, f quant.Format, rows, k int, b []byte) {
	a, values := activations(rows, k), make([]float32, PanelRows*k)
	f.Decode(values, b)
	per := k / Values
	blocks, scales := make([]Block, rows*per), make([]Scale, rows*per)
	kernels.QuantizePanel(blocks, scales, a, k, rows, k)
	panel := make([]byte, per*PanelBytes)
	kernels.Panel(&panel[0], &b[0], f.Bytes(k), 0, per)
	const ldc = PanelRows + 3
	for _, beta := range []float32{0, 1, -2} {
		c := make([]float32, rows*ldc)
		for i := range c {
			c[i] = 7
		}
		if beta == 0 {
			c[0] = float32(math.NaN()) // is not read
		}
		kernels.PanelDots[rows-1](per, &blocks[0].Values[0], &scales[0].Scale, &panel[0], &c[0], ldc, beta)
		for i, v := range c {
			r, j := i/ldc, i%ldc
			got, want, size := float64(v), 7.0, 0.0
			if j < PanelRows {
				want *= float64(beta)
				for l := range k {
					i := l/Values*rows + r
					term := float64(scales[i].Scale) * float64(blocks[i].Values[l%Values]) * float64(values[j*k+l])
					want, size = want+term, size+math.Abs(term)
				}
			}
			// As in checkDots.
			if !(math.Abs(got-want) <= 4e-6*(size+math.Abs(want))) {
				t.Fatalf("%d rows of %d, beta %g: c[%d,%d] = %g, want %g", rows, k, beta, r, j, got, want)
			}
		}
	}
}
