package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

func defineVector(c *build.Context) {
	laneNumbers(c, "lanes", avx2.lanes)
	constants := declareConstants(c)
	for _, l := range loops {
		v := vectors{Context: c, loop: l, constants: constants}
		v.define()
		if l.withAdd {
			v.add = true
			v.define()
		}
	}
}

// Constants of the exponential: as of exp32 in package shaders.
const (
	expLow   = -87.3
	expHigh  = 88.8
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	exponent = 127
)

var (
	negativeInfinity = float32(math.Inf(-1))
	expPolynomial    = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}
)

func declareConstants(c *build.Context) map[float32]operand.Mem {
	m := map[float32]operand.Mem{}
	all := append([]float32{negativeInfinity, 1, geluCubic, geluSlope1, geluScale, math.MaxFloat32, expLow, expHigh, math.Log2E, ln2High, ln2Low, exponent}, expPolynomial...)
	for i, x := range all {
		m[x] = c.StaticGlobal(fmt.Sprintf("constant%d", i))
		c.DataAttributes(attr.RODATA | attr.NOPTR)
		for range avx2.lanes {
			c.AppendDatum(operand.U32(math.Float32bits(x)))
		}
	}
	return m
}

// Constants of GELU's inner polynomial 2√(2/π)·(x + 0.044715·x³) and its slope.
const (
	geluScale  = 2 * 0.7978845608028654
	geluCubic  = 0.044715 * geluScale
	geluSlope1 = 3 * geluCubic
)

var loops = []loop{
	{name: "add", out: []string{"y"}, in: []string{"a", "b"},
		body: func(v *vectors, in, _ []vec) []vec { return []vec{v.plus(in[0], in[1])} }},
	{name: "scale", out: []string{"y"}, in: []string{"x"}, scalars: []string{"f"},
		body: func(v *vectors, in, s []vec) []vec { return []vec{v.times(in[0], s[0])} }},
	{name: "largest", in: []string{"x"}, reduce: most,
		body: func(v *vectors, in, _ []vec) []vec { return in }},
	{name: "sumSquares", in: []string{"x"}, reduce: sum,
		body: func(v *vectors, in, _ []vec) []vec { return []vec{v.times(in[0], in[0])} }},
	{name: "dot", in: []string{"x", "y"}, reduce: sum,
		body: func(v *vectors, in, _ []vec) []vec { return []vec{v.times(in[0], in[1])} }},
	{name: "expSum", out: []string{"y"}, in: []string{"x"}, scalars: []string{"shift"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec {
			y := v.exp(v.minus(in[0], s[0]))
			return []vec{y, y}
		}},
	{name: "expDot", out: []string{"y"}, in: []string{"y", "x"}, scalars: []string{"shift"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec {
			y := v.exp(v.minus(in[0], s[0]))
			return []vec{y, v.times(y, in[1])}
		}},
	{name: "mulDiff", out: []string{"y"}, in: []string{"y", "x"}, scalars: []string{"d"},
		body: func(v *vectors, in, s []vec) []vec { return []vec{v.times(in[1], v.minus(in[0], s[0]))} }},
	{name: "swiglu", out: []string{"y"}, in: []string{"gate", "up"},
		body: func(v *vectors, in, _ []vec) []vec {
			return []vec{v.times(v.times(in[0], v.sigmoid(in[0])), in[1])}
		}},
	{name: "swigluGradient", out: []string{"dgate", "dup"}, in: []string{"gate", "up", "dy"}, withAdd: true, body: swigluGradient},
	{name: "rmsNorm", out: []string{"y"}, in: []string{"x", "w"}, scalars: []string{"rstd"},
		body: func(v *vectors, in, s []vec) []vec { return []vec{v.times(v.times(in[0], s[0]), in[1])} }},
	{name: "rmsNormSums", out: []string{"dw"}, in: []string{"dw", "dy", "x", "w"}, scalars: []string{"rstd"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec {
			t := v.times(v.times(in[1], in[2]), s[0])
			return []vec{v.plus(in[0], t), v.times(t, in[3])}
		}},
	{name: "rmsNormGradient", out: []string{"dx"}, in: []string{"dy", "w", "x"}, scalars: []string{"rstd", "a"}, withAdd: true,
		body: func(v *vectors, in, s []vec) []vec {
			return []vec{v.times(v.minus(v.times(in[0], in[1]), v.times(in[2], s[1])), s[0])}
		}},
	{name: "gelu", out: []string{"y"}, in: []string{"x"},
		body: func(v *vectors, in, _ []vec) []vec { return []vec{v.times(in[0], v.sigmoid(v.geluInner(in[0])))} }},
	{name: "geluGradient", out: []string{"dx"}, in: []string{"x", "dy"}, withAdd: true, body: geluGradient},
	{name: "masked", out: []string{"y"}, in: []string{"x", "mask"}, body: masked},
	{name: "softmaxGradient", out: []string{"dx"}, in: []string{"y", "dy"}, scalars: []string{"d"}, withAdd: true,
		body: func(v *vectors, in, s []vec) []vec { return []vec{v.times(in[0], v.minus(in[1], s[0]))} }},
	{name: "sumDiff", in: []string{"x"}, scalars: []string{"d"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec { return []vec{v.minus(in[0], s[0])} }},
	{name: "sumSquaresDiff", in: []string{"x"}, scalars: []string{"d"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec {
			d := v.minus(in[0], s[0])
			return []vec{v.times(d, d)}
		}},
	{name: "layerNorm", out: []string{"y"}, in: []string{"x", "w", "b"}, scalars: []string{"mean", "rstd"},
		body: func(v *vectors, in, s []vec) []vec {
			return []vec{v.plus(v.times(v.times(v.minus(in[0], s[0]), s[1]), in[1]), in[2])}
		}},
	{name: "layerNormSums", out: []string{"dw", "db"}, in: []string{"dw", "db", "dy", "x"}, scalars: []string{"mean", "rstd"},
		body: func(v *vectors, in, s []vec) []vec {
			hat := v.times(v.minus(in[3], s[0]), s[1])
			return []vec{v.plus(in[0], v.times(in[2], hat)), v.plus(in[1], in[2])}
		}},
	{name: "layerNormDot", in: []string{"dy", "w", "x"}, scalars: []string{"mean", "rstd"}, reduce: sum,
		body: func(v *vectors, in, s []vec) []vec {
			return []vec{v.times(v.times(in[0], in[1]), v.times(v.minus(in[2], s[0]), s[1]))}
		}},
	{name: "layerNormGradient", out: []string{"dx"}, in: []string{"dy", "w", "x"}, scalars: []string{"mean", "rstd", "a", "b"}, withAdd: true,
		body: func(v *vectors, in, s []vec) []vec {
			hat := v.times(v.minus(in[2], s[0]), s[1])
			return []vec{v.times(v.minus(v.minus(v.times(in[0], in[1]), s[2]), v.times(hat, s[3])), s[1])}
		}},
	{name: "rotate", out: []string{"y0", "y1"}, in: []string{"x0", "x1", "cos", "sin"}, scalars: []string{"sign"}, withAdd: true,
		body: func(v *vectors, in, s []vec) []vec {
			sin := v.times(in[3], s[0])
			return []vec{
				v.minus(v.times(in[0], in[2]), v.times(in[1], sin)),
				v.plus(v.times(in[1], in[2]), v.times(in[0], sin)),
			}
		}},
	{name: "adamW", out: []string{"w", "m", "v"}, in: []string{"w", "m", "v", "g"},
		scalars: []string{"factor", "beta1", "rest1", "beta2", "rest2", "decay", "rate", "correction", "eps"}, body: adamW},
}

// swigluGradient: with s the sigmoid of the gate, dy·up·s·(1 + gate·(1 - s)) and
// dy·gate·s.
func swigluGradient(v *vectors, in, _ []vec) []vec {
	gate, up, dy := in[0], in[1], in[2]
	s := v.sigmoid(gate)
	slope := v.YMM()
	v.VMOVUPS(v.constant(1), slope)
	v.VSUBPS(s, slope, slope)
	v.VFMADD213PS(v.constant(1), gate, slope)
	dys := v.times(dy, s)
	return []vec{v.times(v.times(dys, up), slope), v.times(dys, gate)}
}

// geluInner is 2√(2/π)·(x + 0.044715·x³).
func (v *vectors) geluInner(x vec) vec {
	y := v.times(x, x)
	cubic := v.YMM()
	v.VMOVUPS(v.constant(geluCubic), cubic)
	v.VFMADD213PS(v.constant(geluScale), cubic, y)
	return v.times(y, x)
}

// geluGradient: with s the sigmoid of the inner polynomial, dy·(s + x·s·(1-s)·slope); the
// slope is bounded so that its product with 0 is 0.
func geluGradient(v *vectors, in, _ []vec) []vec {
	x, dy := in[0], in[1]
	s := v.sigmoid(v.geluInner(x))
	slope, cubic := v.times(x, x), v.YMM()
	v.VMOVUPS(v.constant(geluSlope1), cubic)
	v.VFMADD213PS(v.constant(geluScale), cubic, slope)
	v.VMINPS(v.constant(math.MaxFloat32), slope, slope)
	rest := v.YMM()
	v.VMOVUPS(v.constant(1), rest)
	v.VSUBPS(s, rest, rest)
	y := v.times(v.times(v.times(x, s), rest), slope)
	return []vec{v.times(v.plus(s, y), dy)}
}

// masked is x where the mask's integer is not 0, else -Inf.
func masked(v *vectors, in, _ []vec) []vec {
	zero, y := v.YMM(), v.YMM()
	v.VPXOR(zero, zero, zero)
	v.VPCMPEQD(in[1], zero, zero)
	v.VBLENDVPS(zero, v.constant(negativeInfinity), in[0], y)
	return []vec{y}
}

func adamW(v *vectors, in, s []vec) []vec {
	w, m, second, g := in[0], in[1], in[2], in[3]
	g = v.times(g, s[0])
	v.VMULPS(s[1], m, m)
	v.VFMADD231PS(g, s[2], m)
	v.VMULPS(g, g, g)
	v.VMULPS(s[3], second, second)
	v.VFMADD231PS(g, s[4], second)
	root := v.YMM()
	v.VSQRTPS(second, root)
	v.VFMADD213PS(s[8], s[7], root)
	step := v.times(m, s[6])
	v.VDIVPS(root, step, step)
	v.VMULPS(s[5], w, w)
	v.VSUBPS(step, w, w)
	return []vec{w, m, second}
}

func (v *vectors) plus(a, b vec) vec {
	y := v.YMM()
	v.VADDPS(b, a, y)
	return y
}

func (v *vectors) minus(a, b vec) vec {
	y := v.YMM()
	v.VSUBPS(b, a, y)
	return y
}

func (v *vectors) times(a, b vec) vec {
	y := v.YMM()
	v.VMULPS(b, a, y)
	return y
}

// sigmoid is 1/(1+e^-x).
func (v *vectors) sigmoid(x vec) vec {
	negative, one := v.YMM(), v.YMM()
	v.VXORPS(negative, negative, negative)
	v.VSUBPS(x, negative, negative)
	e := v.exp(negative)
	v.VADDPS(v.constant(1), e, e)
	v.VMOVUPS(v.constant(1), one)
	v.VDIVPS(e, one, e)
	return e
}

// exp is e^x: 2^n times a polynomial over [-ln2/2, ln2/2]. The bounds come first
// in MIN and MAX, which return the other operand if this one is NaN.
func (v *vectors) exp(x vec) vec {
	bounded, n, k := v.YMM(), v.YMM(), v.YMM()
	v.VMOVUPS(v.constant(expHigh), bounded)
	v.VMINPS(x, bounded, bounded)
	low := v.YMM()
	v.VMOVUPS(v.constant(expLow), low)
	v.VMAXPS(bounded, low, bounded)
	v.VMULPS(v.constant(math.Log2E), bounded, n)
	v.VROUNDPS(operand.U8(8), n, n) // to nearest
	v.VFNMADD231PS(v.constant(ln2High), n, bounded)
	v.VFNMADD231PS(v.constant(ln2Low), n, bounded)
	y, square := v.YMM(), v.YMM()
	v.VMOVUPS(v.constant(expPolynomial[0]), y)
	for _, c := range expPolynomial[1:] {
		v.VFMADD213PS(v.constant(c), bounded, y)
	}
	v.VMULPS(bounded, bounded, square)
	v.VFMADD213PS(bounded, square, y)
	v.VADDPS(v.constant(1), y, y)
	v.VADDPS(v.constant(exponent), n, n)
	v.VCVTPS2DQ(n, k)
	v.VPSLLD(operand.U8(23), k, k)
	v.VMULPS(k, y, y)
	v.VCMPPS(operand.U8(5), low, x, k) // not less than: true where x is not a number
	v.VANDPS(k, y, y)
	return y
}
