package simd

import (
	"math"
	"math/rand/v2"
	"testing"

	"patchwork/shaders/half"
)

var formats = map[string]half.Format{"bf16": half.BF16, "f16": half.F16}

// TestNarrowEveryValue converts every value of 16 bits, and floats on both sides of
// where rounding changes, as the Go form does, at any length.
func TestNarrowEveryValue(t *testing.T) {
	for name, f := range formats {
		bits := make([]uint16, 1<<16)
		for i := range bits {
			bits[i] = uint16(i)
		}
		got, want := make([]float32, len(bits)), make([]float32, len(bits))
		Unpack(f, got, bits)
		f.Unpack(want, bits)
		var floats []float32
		for i, w := range want {
			if g := got[i]; g != w && (g == g || w == w) {
				t.Fatalf("%s %04x is %g, want %g", name, i, g, w)
			}
			for d := range uint32(5) {
				b := math.Float32bits(w)
				floats = append(floats, math.Float32frombits(b+d-2), math.Float32frombits(b+1<<12+d-2), math.Float32frombits(b+1<<15+d-2))
			}
		}
		// In any order, so that no lane can stand in for another.
		rand.New(rand.NewPCG(9, 9)).Shuffle(len(floats), func(i, j int) { floats[i], floats[j] = floats[j], floats[i] })
		for _, n := range []int{0, 1, 7, 8, 9, len(floats)} {
			packed, expected := make([]uint16, n), make([]uint16, n)
			Pack(f, packed, floats[:n])
			f.Pack(expected, floats[:n])
			for i := range expected {
				x := floats[i]
				if packed[i] != expected[i] && x == x {
					t.Fatalf("%s: %g (%08x) is %04x, want %04x", name, x, math.Float32bits(x), packed[i], expected[i])
				}
				var back [1]float32
				if f.Unpack(back[:], packed[i:i+1]); x != x && back[0] == back[0] {
					t.Fatalf("%s loses the NaN %08x", name, math.Float32bits(x))
				}
			}
		}
	}
}

// TestNarrowDots compares every kernel with sums in float64.
func TestNarrowDots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, f := range formats {
		for i, kernel := range NarrowDots(f) {
			rows := i + 1
			for _, k := range []int{16, 32, 48, 64, 80, 576} {
				const n, gap = 5, 3
				a, b := make([]float32, rows*(k+gap)), make([]float32, n*(k+gap))
				for _, x := range [][]float32{a, b} {
					for j := range x {
						x[j] = f.Round(float32(random.NormFloat64()))
					}
				}
				packed := make([]uint16, len(b))
				f.Pack(packed, b)
				c := make([]float32, rows*(n+gap))
				for j := range c {
					c[j] = 1
				}
				kernel(k, &a[0], k+gap, &packed[0], k+gap, n, &c[0], n+gap, 0.5, 2)
				for r := range rows {
					for j := range n + gap {
						want := 1.0
						if j < n {
							want = 2
							for l := range k {
								want += 0.5 * float64(a[r*(k+gap)+l]) * float64(b[j*(k+gap)+l])
							}
						} else if r == rows-1 {
							break
						}
						if got := float64(c[r*(n+gap)+j]); math.Abs(got-want) > 1e-6*float64(k) {
							t.Errorf("%s, %d rows, k = %d: c[%d,%d] = %g, want %g", name, rows, k, r, j, got, want)
						}
					}
				}
			}
		}
	}
}
