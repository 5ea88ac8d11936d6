package main

import (
	"math"

	"patchwork/tools/simdgen/arm64"
)

// leastMagnitude is that of a block whose values do not all count as 0; see least in
// shaders/quant/simd.
const leastMagnitude = 1e-36

// defineNeonQuantize generates the rounding of blocks of 32 values to 8 bits. The integers are signed,
// without an offset.
func defineNeonQuantize(file *arm64.File) {
	f := file.Function("quantizeNEON", "func(blocks *int8, scales *float32, step int, a *float32, n int)",
		"quantizeNEON quantises n blocks of 32 values for an offset of 0, n at least 1; step counts blocks.")
	blocks, scales, step, a, n := f.Param("blocks"), f.Param("scales"), f.Param("step"), f.Param("a"), f.Param("n")
	byScales := f.Reg()
	f.Op("LSL $3, %s, %s", step, byScales)
	f.Op("LSL $6, %s, %s", step, step)
	bits, limit, number := f.Reg(), f.Reg(), f.Reg()
	zero, top := f.Pinned(), f.Pinned()
	f.Zero(zero)
	f.Op("MOVD $0x%08x, %s", math.Float32bits(127), number)
	f.DUP(top, number)
	values := f.Vecs(8)
	largest := f.Pinned()
	f.Label("block")
	for i := 0; i < 8; i += 2 {
		f.LoadPairNext(values[i], values[i+1], a, 32)
	}
	neonLargest(f, largest, values)
	f.Move(bits, largest)
	f.Op("MOVD $0x7f800000, %s", limit)
	f.Op("CMPW %s, %s", limit, bits)
	f.Branch("BHS notFinite")
	f.Op("MOVD $0x%08x, %s", math.Float32bits(leastMagnitude), limit)
	f.Op("CMPW %s, %s", limit, bits)
	f.Branch("BLO zeros")
	neonRound(f, values, largest, top, blocks, scales)
	f.Branch("B next")
	f.Label("notFinite")
	nan := f.Vec()
	f.Ones(nan) // the bits of a NaN
	f.Store(arm64.Two, nan, scales, 0)
	f.Branch("B clear")
	f.Label("zeros")
	f.Store(arm64.Two, zero, scales, 0)
	f.Label("clear")
	f.StorePair(zero, zero, blocks, 0)
	f.Label("next")
	f.StorePair(zero, zero, blocks, blockStarts)
	f.Op("ADD %s, %s, %s", step, blocks, blocks)
	f.Op("ADD %s, %s, %s", byScales, scales, scales)
	f.Op("SUBS $1, %s, %s", n, n)
	f.Branch("BNE block")
	f.Return()
}

// neonLargest computes the largest magnitude; as integers, NaN is the largest.
func neonLargest(f *arm64.Function, largest *arm64.V, values []*arm64.V) {
	var magnitudes []*arm64.V
	for _, v := range values {
		m := f.Vec()
		f.FABS(m, v)
		magnitudes = append(magnitudes, m)
	}
	for n := len(magnitudes) / 2; n > 0; n /= 2 {
		for i := range n {
			f.UMAX(magnitudes[i], magnitudes[i], magnitudes[i+n])
		}
	}
	f.UMAXV(largest, magnitudes[0])
}

// neonRound writes the integers, the scale and the sum.
func neonRound(f *arm64.Function, values []*arm64.V, largest, top *arm64.V, blocks, scales arm64.R) {
	inverse, scale := f.Vec(), f.Vec()
	f.FDIVS(inverse, top, largest)
	f.FDIVS(scale, largest, top)
	f.Store(arm64.One, scale, scales, 0)
	var words []*arm64.V
	for _, v := range values {
		f.FMULLane(v, v, inverse, 0)
		f.FCVTNS(v, v)
	}
	for i := 0; i < len(values); i += 2 {
		w := f.Vec()
		f.UZP1H(w, values[i], values[i+1])
		words = append(words, w)
	}
	low, high := f.Vec(), f.Vec()
	f.UZP1B(low, words[0], words[1])
	f.UZP1B(high, words[2], words[3])
	f.StorePair(low, high, blocks, 0)
	for n := len(values) / 2; n > 0; n /= 2 {
		for i := range n {
			f.ADD(values[i], values[i], values[i+n])
		}
	}
	sum := f.Vec()
	f.ADDV(sum, values[0])
	f.SCVTF(sum, sum)
	f.FMULS(sum, sum, scale)
	f.Store(arm64.One, sum, scales, 4)
}
