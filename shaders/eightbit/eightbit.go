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
		root := int8(float32(127*sqrt(abs(v)*inverse)) + 0.5)
		if v < 0 {
			root = -root
		}
		codes[i] = byte(root)
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
		code := int(float32(255*sqrt(sqrt(v*inverse))) + 0.5)
		if v > 0 {
			code = max(code, 1)
		}
		codes[i] = byte(min(code, 255))
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
	var largest uint32 // as bits, which order magnitudes, infinity and NaN last
	for _, v := range x {
		largest = max(largest, math.Float32bits(v)&^(1<<31))
	}
	scale = math.Float32frombits(largest)
	switch {
	case !(scale <= math.MaxFloat32):
		return float32(math.NaN()), false
	case scale < Smallest:
		return 0, false
	}
	return scale, true
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
