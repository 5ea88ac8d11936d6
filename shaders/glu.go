package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// Activations of a gated unit's gate.
const (
	SiLU     = 0 // gate·sigmoid(gate)
	GELUTanh = 1 // as GELU
)

// gatedUnit computes y = activation(gate)·up on the CPU.
func gatedUnit(activation uint32, y, gate, up []float32) {
	if activation == SiLU {
		simd.SwiGLU(y, gate, up)
		return
	}
	simd.GELU(y, gate)
	simd.MulDiff(y, up, 0)
}

// gatedUnitGradient computes, or adds, the gradients of gate and up. product is working memory of
// the length of dgate.
func gatedUnitGradient(activation uint32, dgate, dup, gate, up, dy, product []float32, accumulate bool) {
	if activation == SiLU {
		simd.SwiGLUGradient(dgate, dup, gate, up, dy, accumulate)
		return
	}
	n := len(dgate)
	product = product[:n]
	copy(product, dy[:n])
	simd.MulDiff(product, up, 0)
	simd.GELUGradient(dgate, gate, product, accumulate)
	simd.GELU(product, gate)
	if accumulate {
		simd.MulDiff(product, dy, 0)
		simd.Add(dup[:n], dup, product)
		return
	}
	copy(dup[:n], product)
	simd.MulDiff(dup[:n], dy, 0)
}

// gatedUnitAt is an activation and its derivative in float64. At infinity the derivative is not a number.
func gatedUnitAt(activation uint32, gate float64) (y, slope float64) {
	if activation == SiLU {
		s := 1 / (1 + math.Exp(-gate))
		return gate * s, s * (1 + gate*(1-s))
	}
	c := math.Sqrt(2 / math.Pi)
	t := math.Tanh(c * (gate + 0.044715*gate*gate*gate))
	return gate / 2 * (1 + t), (1+t)/2 + gate/2*(1-t*t)*c*(1+3*0.044715*gate*gate)
}

// overActivations makes cases for both activations.
func overActivations(cases func(activation uint32) []Case) []Case {
	all := cases(SiLU)
	for _, c := range cases(GELUTanh) {
		all = append(all, c.named("%s, GELU", c.Name))
	}
	return all
}
