// Package half converts between float32 and the two 16-bit floats that weights
// are kept in: IEEE 754's binary16 (F16) and the upper half of a float32 (BF16).
package half

import (
	"math"
	"sync"

	"github.com/x448/float16"
)

// table holds the float32 of every F16: a lookup is several times as fast as the
// conversion.
var table = sync.OnceValue(func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for bits := range t {
		t[bits] = float16.Frombits(uint16(bits)).Float32()
	}
	return t
})

// Table returns the float32 of every F16, by its bits.
func Table() *[1 << 16]float32 { return table() }

// FromBF16 is the float32 of a BF16.
func FromBF16(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }

// ToF16 rounds to the nearest F16, ties to even.
func ToF16(x float32) uint16 { return float16.Fromfloat32(x).Bits() }

// ToBF16 rounds to the nearest BF16, ties to even.
func ToBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 0x40 // stays a NaN, a quiet one
	}
	return uint16((bits + 0x7FFF + bits>>16&1) >> 16)
}

// Format is one of the two 16-bit floats.
type Format int

const (
	F16 Format = iota
	BF16
)

// Pack rounds every value to its nearest, ties to even; dst is as long as src.
func (f Format) Pack(dst []uint16, src []float32) {
	to := ToF16
	if f == BF16 {
		to = ToBF16
	}
	for i, x := range src {
		dst[i] = to(x)
	}
}

// Unpack is the float32 of every value; dst is as long as src.
func (f Format) Unpack(dst []float32, src []uint16) {
	if f == BF16 {
		for i, bits := range src {
			dst[i] = FromBF16(bits)
		}
		return
	}
	table := Table()
	for i, bits := range src {
		dst[i] = table[bits]
	}
}

// Round is the nearest value that the format holds.
func (f Format) Round(x float32) float32 {
	if f == BF16 {
		return FromBF16(ToBF16(x))
	}
	return Table()[ToF16(x)]
}
