// Package eightbit stores AdamW's moments in a byte each (Dettmers et al., "8-bit optimizers
// via block-wise quantization", 2022). Blocks of consecutive values share a scale, the largest
// magnitude among them. A first moment's code is the signed square root of its share of the
// scale, a second moment's code the fourth root: small values keep more of their precision.
package eightbit

import "math"

// Block is the number of values that share a scale.
const Block = 256

// Smallest is the scale below which a block counts as zero. Above it the smallest values of
// all codes are normal floats, so that decoded values encode to the same codes; below it AdamW's
// Eps makes steps of it that no weight notices.
const Smallest = 1e-26

// The values of the codes of a block whose scale is 1.
var (
	first  [256]float32 // of an int8
	second [256]float32
)

func init() {
	for i := range 256 {
		root := max(float64(int8(i))/127, -1)
		first[i] = float32(root * math.Abs(root))
		second[i] = float32(math.Pow(float64(i)/255, 4))
	}
}

// The codes of a share of the scale: 127 times its square root and 255 times its fourth.
var (
	squareRoots = newRoots(127, 2)
	fourthRoots = newRoots(255, 4)
)

// roots finds the codes that are the nearest to a root of a share, without computing the root.
type roots struct {
	base   uint32      // the upper half of the bits of the smallest share that has an entry
	codes  []uint8     // by the upper half of a share's bits, from base on: the code of the smallest such share
	starts [257]uint32 // the bits of the smallest share of each code
}

// newRoots makes the table of round(largest·share^(1/power)). Codes are so far apart that among the
// shares of an entry one code begins at most.
func newRoots(largest int, power float64) *roots {
	r := &roots{}
	for c := range r.starts {
		r.starts[c] = math.MaxUint32
		if c <= largest {
			r.starts[c] = math.Float32bits(float32(math.Pow(max(float64(c)-0.5, 0)/float64(largest), power)))
		}
	}
	r.base = r.starts[1]>>16 - 1
	code := 0
	for upper := r.base; upper <= math.Float32bits(1)>>16; upper++ {
		for r.starts[code+1] <= upper<<16 {
			code++
		}
		r.codes = append(r.codes, uint8(code))
	}
	return r
}

// of is the code of a share of at most 1, or what is above 1 by rounding.
func (r *roots) of(share float32) uint8 {
	bits := math.Float32bits(share)
	code := r.codes[max(bits>>16, r.base)-r.base]
	if bits >= r.starts[int(code)+1] {
		code++
	}
	return code
}

// EncodeFirst writes the codes of a block of at most Block first moments and returns its
// scale: 0 for a block of zeros, NaN if a value is infinite or NaN.
func EncodeFirst(codes []byte, x []float32) (scale float32) {
	scale, ok := scaleOf(x)
	if !ok {
		clear(codes[:len(x)])
		return scale
	}
	inverse := 1 / scale
	for i, v := range x {
		root := squareRoots.of(abs(v) * inverse)
		sign := uint8(int32(math.Float32bits(v)) >> 31) // 0 or 255
		codes[i] = (root ^ sign) - sign
	}
	return scale
}

// DecodeFirst computes the first moments of a block's codes.
func DecodeFirst(x []float32, codes []byte, scale float32) {
	for i, c := range codes[:len(x)] {
		x[i] = first[c] * scale
	}
}

// EncodeSecond is EncodeFirst for second moments, which are not negative. What is above 0 gets
// a code above 0: its root is a divisor.
func EncodeSecond(codes []byte, x []float32) (scale float32) {
	scale, ok := scaleOf(x)
	if !ok {
		clear(codes[:len(x)])
		return scale
	}
	inverse := 1 / scale
	for i, v := range x {
		code := fourthRoots.of(v * inverse)
		if v > 0 {
			code = max(code, 1)
		}
		codes[i] = code
	}
	return scale
}

// DecodeSecond computes the second moments of a block's codes.
func DecodeSecond(x []float32, codes []byte, scale float32) {
	for i, c := range codes[:len(x)] {
		x[i] = second[c] * scale
	}
}

// scaleOf is a block's scale; ok is false if all its codes are 0.
func scaleOf(x []float32) (scale float32, ok bool) {
	const sign = 1 << 31
	var a, b, c, d uint32 // as bits, which order magnitudes, infinity and NaN last
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		a, b = max(a, math.Float32bits(v[0])&^sign), max(b, math.Float32bits(v[1])&^sign)
		c, d = max(c, math.Float32bits(v[2])&^sign), max(d, math.Float32bits(v[3])&^sign)
	}
	for ; i < len(x); i++ {
		a = max(a, math.Float32bits(x[i])&^sign)
	}
	scale = math.Float32frombits(max(a, b, c, d))
	switch {
	case !(scale <= math.MaxFloat32):
		return float32(math.NaN()), false
	case scale < Smallest:
		return 0, false
	}
	return scale, true
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
