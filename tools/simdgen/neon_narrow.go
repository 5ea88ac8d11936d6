package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

// defineNeonNarrow generates the conversions of n times 8 values between float32 and the formats of
// 16 bits, rounding to the nearest, ties to even.
func defineNeonNarrow(file *arm64.File) {
	for _, f := range []format{bf16s, f16s} {
		neonNarrowLoop(file, fmt.Sprintf("unpack%sNEON", f.name), "dst *float32, src *uint16", func(fn *arm64.Function, src, dst arm64.R) {
			narrow, low, high := fn.Vec(), fn.Vec(), fn.Vec()
			fn.LoadNext(arm64.Four, narrow, src, 16)
			widenNeon(fn, f, low, high, narrow)
			fn.StorePairNext(low, high, dst, 32)
		})
		neonNarrowLoop(file, fmt.Sprintf("pack%sNEON", f.name), "dst *uint16, src *float32", func(fn *arm64.Function, src, dst arm64.R) {
			narrow, low, high := fn.Vec(), fn.Vec(), fn.Vec()
			fn.LoadPairNext(low, high, src, 32)
			if f == f16s {
				fn.FCVTN(narrow, low)
				fn.FCVTN2(narrow, high)
			} else {
				fn.SHRN16(narrow, neonRoundBF16(fn, low))
				fn.SHRN16High(narrow, neonRoundBF16(fn, high))
			}
			fn.StoreNext(arm64.Four, narrow, dst, 16)
		})
	}
}

func neonNarrowLoop(file *arm64.File, name, pointers string, body func(f *arm64.Function, src, dst arm64.R)) {
	f := file.Function(name, "func("+pointers+", n int)", name+" converts n times 8 values, n at least 1.")
	dst, src, n := f.Param("dst"), f.Param("src"), f.Param("n")
	f.Label("next")
	body(f, src, dst)
	f.Op("SUBS $1, %s, %s", n, n)
	f.Branch("BNE next")
	f.Return()
}

// neonRoundBF16 adds half of the last kept place, minus one if that place is even. A NaN keeps its
// upper half and becomes quiet.
func neonRoundBF16(f *arm64.Function, x *arm64.V) *arm64.V {
	number, ones, place, bias, quiet := f.Vec(), f.Vec(), f.Vec(), f.Vec(), f.Vec()
	f.Ones(ones)
	f.USHR(place, ones, 31) // 1
	f.USHR(bias, ones, 17)  // 0x7fff
	f.SHL(quiet, place, 22)
	f.ORR(quiet, quiet, x)
	last := f.Vec()
	f.USHR(last, x, 16)
	f.AND(last, last, place)
	f.ADD(last, last, bias)
	f.ADD(last, last, x)
	f.FCMEQ(number, x, x)
	f.BSL(number, last, quiet)
	return number
}
