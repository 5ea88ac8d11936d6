package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// short are n random values of few bits, so that a multiply-add in double precision is exact and its
// rounding to single precision is that of a fused one.
func short(random *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.IntN(4096)-2048) / 1024
	}
	return x
}

// fused is x·y + z, rounded once.
func fused(x, y, z float32) float32 { return float32(float64(x)*float64(y) + float64(z)) }

// TestMicrokernels compares the bits of every microkernel with fused multiply-adds in order, for all
// numbers of rows and columns and both ways in which a may be stored. What is beside c stays.
func TestMicrokernels(t *testing.T) {
	for _, tile := range Tiles() {
		random := rand.New(rand.NewPCG(3, 4))
		for i, kernel := range tile.Kernels {
			rows := i + 1
			for n := 1; n <= tile.Cols; n++ {
				for _, k := range []int{1, 2, 7} {
					for _, apart := range []bool{false, true} {
						rs, ks, ldb, ldc := 1, rows+1, tile.Cols+2, tile.Cols+3
						if apart {
							rs, ks = k+2, 1
						}
						a, b, c := short(random, rows*(k+2)+(rows+1)*k), short(random, k*ldb), short(random, (rows+1)*ldc)
						for _, scale := range [][2]float32{{1, 0}, {0.5, 1}, {-1, 0.25}} {
							alpha, beta := scale[0], scale[1]
							want, got := slices.Clone(c), slices.Clone(c)
							for r := range rows {
								for j := range n {
									var sum float32
									for l := range k {
										sum = fused(a[r*rs+l*ks], b[l*ldb+j], sum)
									}
									want[r*ldc+j] = fused(c[r*ldc+j], beta, alpha*sum)
								}
							}
							if beta == 0 { // then c is not read
								got[0] = float32(math.NaN())
							}
							kernel(k, &a[0], rs, ks, &b[0], ldb, &got[0], ldc, n, alpha, beta)
							same(t, fmt.Sprintf("%s, %d rows, %d columns, k=%d, apart=%v, alpha=%g, beta=%g", tile.Name, rows, n, k, apart, alpha, beta), got, want)
						}
					}
				}
			}
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: element %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// TestDots compares every kernel with sums in float64, over numbers of terms around whole vectors and
// steps; the bits of an element do not depend on how many rows of b there are.
func TestDots(t *testing.T) {
	for _, tile := range Tiles() {
		random := rand.New(rand.NewPCG(5, 6))
		for i, kernel := range tile.Dots {
			rows := i + 1
			for k := 1; k <= 70; k++ {
				const n, gap = 3, 2
				lda, ldc := k+gap, n+gap
				a, b, c := make([]float32, rows*lda), make([]float32, n*lda), short(random, rows*ldc)
				for _, x := range [][]float32{a, b} {
					for j := range x {
						x[j] = float32(random.NormFloat64())
					}
				}
				for _, beta := range []float32{0, 2} {
					got := slices.Clone(c)
					kernel(k, &a[0], lda, &b[0], lda, n, &got[0], ldc, 0.5, beta)
					for at, g := range got {
						r, j := at/ldc, at%ldc
						want, tolerance := float64(c[at]), 0.0
						if j < n {
							want, tolerance = float64(beta)*want, 1e-6*float64(k)
							for l := range k {
								want += 0.5 * float64(a[r*lda+l]) * float64(b[j*lda+l])
							}
						}
						if math.Abs(float64(g)-want) > tolerance {
							t.Fatalf("%s, %d rows, k=%d, beta=%g: c[%d,%d] is %g, want %g", tile.Name, rows, k, beta, r, j, g, want)
						}
					}
					alone := slices.Clone(c)
					kernel(k, &a[0], lda, &b[2*lda], lda, 1, &alone[2], ldc, 0.5, beta)
					for r := range rows {
						if alone[r*ldc+2] != got[r*ldc+2] {
							t.Fatalf("%s, %d rows, k=%d: the bits depend on the number of rows of b", tile.Name, rows, k)
						}
					}
				}
			}
		}
	}
}

// TestCopies copies rows as wide as a panel and of every smaller width; what is beside them stays.
func TestCopies(t *testing.T) {
	for _, tile := range Tiles() {
		const rows = 3
		src := short(rand.New(rand.NewPCG(7, 8)), rows*(tile.Cols+5))
		whole := make([]float32, rows*tile.Cols+1)
		tile.CopyRows(&whole[0], &src[0], tile.Cols+5, rows)
		for i := range rows {
			same(t, tile.Name, whole[i*tile.Cols:][:tile.Cols], src[i*(tile.Cols+5):][:tile.Cols])
		}
		if whole[rows*tile.Cols] != 0 {
			t.Errorf("%s: CopyRows writes behind the last row", tile.Name)
		}
		for n := 1; n <= tile.Cols && tile.CopyPart != nil; n++ {
			got, want := make([]float32, rows*(n+2)), make([]float32, rows*(n+2))
			tile.CopyPart(&got[0], n+2, &src[0], tile.Cols+5, rows, n)
			for i := range rows {
				copy(want[i*(n+2):][:n], src[i*(tile.Cols+5):])
			}
			same(t, fmt.Sprintf("%s, %d columns", tile.Name, n), got, want)
		}
	}
}
