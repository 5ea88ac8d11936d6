package simd

import "math"

// Exp is e^x in single precision: 2^n times a polynomial over [-ln2/2, ln2/2]
// (Cephes expf), within 2 units in the last place, 0 below -87.3.
func Exp(x float32) float32 {
	if x < -87.3 {
		return 0
	}
	if x > 88.7 {
		return float32(math.Inf(1))
	}
	const magic = 12582912 // 1.5·2^23: adding it rounds to an integer
	n := x*math.Log2E + magic
	k := int32(math.Float32bits(n)) - 0x4B400000
	n -= magic
	r := x - n*0.693359375 + n*2.12194440e-4
	y := float32(1.9875691500e-4)
	y = y*r + 1.3981999507e-3
	y = y*r + 8.3334519073e-3
	y = y*r + 4.1665795894e-2
	y = y*r + 1.6666665459e-1
	y = y*r + 5.0000001201e-1
	y = y*r*r + r + 1
	return y * math.Float32frombits(uint32(k+127)<<23)
}

// Sigmoid is 1/(1+e^-x).
func Sigmoid(x float32) float32 { return 1 / (1 + Exp(-x)) }
