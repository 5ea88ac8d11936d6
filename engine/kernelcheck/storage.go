package kernelcheck

import (
	"math"

	"patchwork/shaders"
)

// round rounds floats, given as words, to what a type holds.
func round(t shaders.Type, wide []uint32) []uint32 {
	if !t.Half() {
		return wide
	}
	return words(wide, func(w uint32) uint32 {
		return math.Float32bits(t.Format().Round(math.Float32frombits(w)))
	})
}

// Pack converts elements, given as words, to the memory layout of their type.
func Pack(t shaders.Type, wide []uint32) []uint32 {
	if !t.Half() {
		return wide
	}
	packed := make([]uint32, (len(wide)+1)/2)
	for i, w := range wide {
		var narrow [1]uint16
		t.Format().Pack(narrow[:], []float32{math.Float32frombits(w)})
		packed[i/2] |= uint32(narrow[0]) << (16 * (i % 2))
	}
	return packed
}

// Unpack undoes Pack for the first n elements.
func Unpack(t shaders.Type, packed []uint32, n int) []uint32 {
	if !t.Half() {
		return packed[:n]
	}
	wide := make([]uint32, n)
	for i := range wide {
		var x [1]float32
		t.Format().Unpack(x[:], []uint16{uint16(packed[i/2] >> (16 * (i % 2)))})
		wide[i] = math.Float32bits(x[0])
	}
	return wide
}

// ForVariant is the case with the tolerance of a variant, nil for none: without
// ProductRoundingTolerance unless the variant rounds operands. EightBitActivations is for the
// CPU, which has no variants.
func ForVariant(v *shaders.Variant, c shaders.Case) shaders.Case {
	if v == nil || v.Cooperative == nil || !v.Cooperative.Rounds {
		c.ProductRoundingTolerance = 0
	}
	if v == nil {
		c.Atol += c.EightBitActivations
	}
	return c
}

// withRounding adds the rounding of an output to its type: relative, and F16's smallest
// steps. A case without tolerance keeps none: copies are exact up to correct rounding.
func withRounding(t shaders.Type, c shaders.Case) shaders.Case {
	if c.Rtol == 0 && c.Atol == 0 {
		return c
	}
	switch t {
	case shaders.BF16:
		c.Rtol, c.Atol = c.Rtol+0x1p-8, c.Atol+(c.RecomputedInputTolerance+c.ProductRoundingTolerance)*0x1p-8
	case shaders.F16:
		c.Rtol, c.Atol = c.Rtol+0x1p-11, c.Atol+(c.RecomputedInputTolerance+c.ProductRoundingTolerance)*0x1p-11+0x1p-25
	}
	return c
}
