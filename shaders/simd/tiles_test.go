package simd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"patchwork/shaders/half"
)

// TestTileProduct compares products of short values, which are exact, for all numbers of rows and
// columns of the last tiles. What is beside c stays.
func TestTileProduct(t *testing.T) {
	if !HasTiles() {
		t.Skip("the processor has no AMX with bf16")
	}
	random := rand.New(rand.NewPCG(7, 8))
	small := func(n int) ([]uint16, []float32) {
		values, bits := make([]float32, n), make([]uint16, n)
		for i := range values {
			values[i] = float32(random.IntN(16)-8) / 4
		}
		half.BF16.Pack(bits, values)
		return bits, values
	}
	for _, rows := range []int{1, 2, 15, 16, 17, 31, 32, 33, 48, 64, 79} {
		for cols := 1; cols <= TileGroup; cols++ {
			for _, steps := range []int{1, 3} {
				k := steps * TileStep
				rs, ldc := k+2, cols+3
				groups := (rows + TileRows - 1) / TileRows
				a, av := small(groups * TileRows * rs)
				bBits, bv := small(k * TileGroup)
				pairs := make([]uint32, k/2*TileGroup)
				for l := range k {
					for j := range TileGroup {
						pairs[l/2*TileGroup+j] |= uint32(bBits[l*TileGroup+j]) << (16 * (l % 2))
					}
				}
				for _, add := range []bool{false, true} {
					c := short(random, (rows+1)*ldc)
					want := slices.Clone(c)
					for i := range rows {
						for j := range cols {
							sum := float32(0)
							if add {
								sum = c[i*ldc+j]
							}
							for l := range k {
								sum += av[i*rs+l] * bv[l*TileGroup+j]
							}
							want[i*ldc+j] = sum
						}
					}
					TileProduct{
						Rows: rows, Cols: cols, Steps: steps, A: &a[0], RowStride: rs, StepStride: TileStep, GroupStride: TileRows * rs,
						B: &pairs[0], C: &c[0], LDC: ldc, Add: add,
					}.Run()
					same(t, fmt.Sprintf("%d rows, %d columns, %d steps, add=%v", rows, cols, steps, add), c, want)
				}
			}
		}
	}
}
