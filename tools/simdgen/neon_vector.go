package main

import "math"

// neonConstants are the numbers that bodies load, which takes none of the vector units.
var neonConstants = append([]float32{
	negativeInfinity, 1, geluCubic, geluSlope1, geluScale, math.MaxFloat32, expLow, expHigh, math.Log2E, ln2High, ln2Low,
}, expPolynomial...)

type neonLoop struct {
	of       neonBody
	products bool // the last two values are factors of the sum's terms
}

// neonBodies are the bodies of loops.
var neonBodies = map[string]neonLoop{
	"add":        {of: func(v *neonVectors, in, _ []neonVec) []neonVec { return []neonVec{v.plus(in[0], in[1])} }},
	"scale":      {of: func(v *neonVectors, in, s []neonVec) []neonVec { return []neonVec{v.times(in[0], s[0])} }},
	"largest":    {of: func(v *neonVectors, in, _ []neonVec) []neonVec { return in }},
	"sumSquares": {products: true, of: func(v *neonVectors, in, _ []neonVec) []neonVec { return []neonVec{in[0], in[0]} }},
	"dot":        {products: true, of: func(v *neonVectors, in, _ []neonVec) []neonVec { return in }},
	"expSum": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		y := v.exp(v.minus(in[0], s[0]))
		return []neonVec{y, y}
	}},
	"expDot": {products: true, of: func(v *neonVectors, in, s []neonVec) []neonVec {
		y := v.exp(v.minus(in[0], s[0]))
		return []neonVec{y, y, in[1]}
	}},
	"mulDiff": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		return []neonVec{v.times(in[1], v.minus(in[0], s[0]))}
	}},
	"swiglu": {of: func(v *neonVectors, in, _ []neonVec) []neonVec {
		return []neonVec{v.times(v.times(in[0], v.sigmoid(in[0])), in[1])}
	}},
	"swigluGradient": {of: neonSwigluGradient},
	"rmsNorm": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		return []neonVec{v.times(v.times(in[0], s[0]), in[1])}
	}},
	"rmsNormSums": {products: true, of: func(v *neonVectors, in, s []neonVec) []neonVec {
		t := v.times(v.times(in[1], in[2]), s[0])
		return []neonVec{v.plus(in[0], t), t, in[3]}
	}},
	"rmsNormGradient": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		t := v.times(in[0], in[1])
		v.FMLS(t, in[2], s[1])
		return []neonVec{v.times(t, s[0])}
	}},
	"gelu": {of: func(v *neonVectors, in, _ []neonVec) []neonVec {
		return []neonVec{v.times(in[0], v.sigmoid(v.geluInner(in[0])))}
	}},
	"geluGradient": {of: neonGELUGradient},
	"masked":       {of: neonMasked},
	"softmaxGradient": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		return []neonVec{v.times(in[0], v.minus(in[1], s[0]))}
	}},
	"sumDiff": {of: func(v *neonVectors, in, s []neonVec) []neonVec { return []neonVec{v.minus(in[0], s[0])} }},
	"sumSquaresDiff": {products: true, of: func(v *neonVectors, in, s []neonVec) []neonVec {
		d := v.minus(in[0], s[0])
		return []neonVec{d, d}
	}},
	"layerNorm": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		return []neonVec{v.fused(in[2], v.times(v.minus(in[0], s[0]), s[1]), in[1])}
	}},
	"layerNormSums": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		hat := v.times(v.minus(in[3], s[0]), s[1])
		return []neonVec{v.fused(in[0], in[2], hat), v.plus(in[1], in[2])}
	}},
	"layerNormDot": {products: true, of: func(v *neonVectors, in, s []neonVec) []neonVec {
		return []neonVec{v.times(in[0], in[1]), v.times(v.minus(in[2], s[0]), s[1])}
	}},
	"layerNormGradient": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		hat := v.times(v.minus(in[2], s[0]), s[1])
		t := v.minus(v.times(in[0], in[1]), s[2])
		v.FMLS(t, hat, s[3])
		return []neonVec{v.times(t, s[1])}
	}},
	"rotate": {of: func(v *neonVectors, in, s []neonVec) []neonVec {
		sin := v.times(in[3], s[0])
		y0 := v.times(in[0], in[2])
		v.FMLS(y0, in[1], sin)
		return []neonVec{y0, v.fused(v.times(in[1], in[2]), in[0], sin)}
	}},
	"adamW": {of: neonAdamW},
}

// neonSwigluGradient: with s the sigmoid of the gate, dy·up·s·(1 + gate·(1 - s)) and dy·gate·s.
func neonSwigluGradient(v *neonVectors, in, _ []neonVec) []neonVec {
	gate, up, dy := in[0], in[1], in[2]
	s := v.sigmoid(gate)
	slope := v.fused(v.constant(1), v.minus(v.constant(1), s), gate)
	dys := v.times(dy, s)
	return []neonVec{v.times(v.times(dys, up), slope), v.times(dys, gate)}
}

// geluInner is 2√(2/π)·(x + 0.044715·x³).
func (v *neonVectors) geluInner(x neonVec) neonVec {
	return v.times(v.fused(v.constant(geluScale), v.times(x, x), v.constant(geluCubic)), x)
}

// neonGELUGradient: with s the sigmoid of the inner polynomial, dy·(s + x·s·(1-s)·slope); the slope
// is bounded so that its product with 0 is 0.
func neonGELUGradient(v *neonVectors, in, _ []neonVec) []neonVec {
	x, dy := in[0], in[1]
	s := v.sigmoid(v.geluInner(x))
	slope := v.fused(v.constant(geluScale), v.times(x, x), v.constant(geluSlope1))
	v.FMIN(slope, slope, v.constant(math.MaxFloat32))
	rest := v.minus(v.constant(1), s)
	y := v.times(v.times(v.times(x, s), rest), slope)
	return []neonVec{v.times(v.plus(s, y), dy)}
}

// neonMasked is x where the mask's integer is not 0, else -Inf.
func neonMasked(v *neonVectors, in, _ []neonVec) []neonVec {
	zero := v.Vec()
	v.Zero(zero)
	v.CMEQ(zero, in[1], zero)
	v.BSL(zero, v.constant(negativeInfinity), in[0])
	return []neonVec{zero}
}

func neonAdamW(v *neonVectors, in, s []neonVec) []neonVec {
	w, m, second, g := in[0], in[1], in[2], in[3]
	g = v.times(g, s[0])
	m = v.fused(v.times(m, s[1]), g, s[2])
	second = v.fused(v.times(second, s[3]), v.times(g, g), s[4])
	root := v.Vec()
	v.FSQRT(root, second)
	step := v.Vec()
	v.FDIV(step, v.times(m, s[6]), v.fused(v.copy(s[8]), root, s[7]))
	return []neonVec{v.minus(v.times(w, s[5]), step), m, second}
}

func (v *neonVectors) plus(a, b neonVec) neonVec {
	y := v.Vec()
	v.FADD(y, a, b)
	return y
}

func (v *neonVectors) minus(a, b neonVec) neonVec {
	y := v.Vec()
	v.FSUB(y, a, b)
	return y
}

func (v *neonVectors) times(a, b neonVec) neonVec {
	y := v.Vec()
	v.FMUL(y, a, b)
	return y
}

// fused adds a·b to acc, which it returns.
func (v *neonVectors) fused(acc, a, b neonVec) neonVec {
	v.FMLA(acc, a, b)
	return acc
}

func (v *neonVectors) copy(x neonVec) neonVec {
	y := v.Vec()
	v.Copy(y, x)
	return y
}

// sigmoid is 1/(1+e^-x).
func (v *neonVectors) sigmoid(x neonVec) neonVec {
	negative, y := v.Vec(), v.Vec()
	v.FNEG(negative, x)
	v.FDIV(y, v.constant(1), v.plus(v.exp(negative), v.constant(1)))
	return y
}

// exp is e^x: 2^n times a polynomial over [-ln2/2, ln2/2]. The bounds keep NaN, which is not less
// than the lower one.
func (v *neonVectors) exp(x neonVec) neonVec {
	r, n, k := v.Vec(), v.Vec(), v.Vec()
	v.FMIN(r, x, v.constant(expHigh))
	v.FMAX(r, r, v.constant(expLow))
	v.FRINTN(n, v.times(r, v.constant(math.Log2E)))
	v.FMLS(r, n, v.constant(ln2High))
	v.FMLS(r, n, v.constant(ln2Low))
	v.FCVTNS(k, n)
	y := v.constant(expPolynomial[0])
	for _, c := range expPolynomial[1:] {
		y = v.fused(v.constant(c), y, r)
	}
	y = v.plus(v.fused(v.copy(r), v.times(r, r), y), v.constant(1))
	v.SHL(k, k, 23)
	power, below := v.Vec(), v.Vec()
	v.ADD(power, k, v.constant(1)) // the bits of 2^n
	v.FMUL(y, y, power)
	v.FCMGT(below, v.constant(expLow), x)
	v.BIC(y, y, below)
	return y
}
