package main

import (
	"bytes"
	"fmt"
	"go/format"
	"math"
	"strings"

	"patchwork/tools/wasmgen/wasm"
)

// loop is a loop over vectors of the elements of arrays, with a form in Go for what is left at the end.
type loop struct {
	name             string
	out, in, scalars []string
	// reduce joins the last result of body over all elements; nil: there is none.
	reduce *reduction
	// body computes what is stored in out, then what is reduced.
	body func(f *wasm.Function, in, scalars []wasm.V128) []wasm.V128
}

type reduction struct {
	first float32
	join  func(x, y wasm.V128) wasm.V128
	goOp  string // how Go joins two
}

var (
	sum  = &reduction{0, wasm.V128.F32x4Add, "%s + %s"}
	most = &reduction{float32(math.Inf(-1)), wasm.V128.F32x4Pmax, "max(%s, %s)"}
)

// loops are those of a model that answers; the others of package simd stay in Go.
var loops = []loop{
	{name: "add", out: []string{"y"}, in: []string{"a", "b"},
		body: func(_ *wasm.Function, in, _ []wasm.V128) []wasm.V128 { return []wasm.V128{in[0].F32x4Add(in[1])} }},
	{name: "scale", out: []string{"y"}, in: []string{"x"}, scalars: []string{"f"},
		body: func(_ *wasm.Function, in, s []wasm.V128) []wasm.V128 { return []wasm.V128{in[0].F32x4Mul(s[0])} }},
	{name: "largest", in: []string{"x"}, reduce: most,
		body: func(_ *wasm.Function, in, _ []wasm.V128) []wasm.V128 { return in }},
	{name: "sumSquares", in: []string{"x"}, reduce: sum,
		body: func(_ *wasm.Function, in, _ []wasm.V128) []wasm.V128 { return []wasm.V128{in[0].F32x4Mul(in[0])} }},
	{name: "dot", in: []string{"x", "y"}, reduce: sum,
		body: func(_ *wasm.Function, in, _ []wasm.V128) []wasm.V128 { return []wasm.V128{in[0].F32x4Mul(in[1])} }},
	{name: "expSum", out: []string{"y"}, in: []string{"x"}, scalars: []string{"shift"}, reduce: sum,
		body: func(f *wasm.Function, in, s []wasm.V128) []wasm.V128 {
			y := exp(f, in[0].F32x4Sub(s[0]))
			return []wasm.V128{y, y}
		}},
	{name: "swiglu", out: []string{"y"}, in: []string{"gate", "up"},
		body: func(f *wasm.Function, in, _ []wasm.V128) []wasm.V128 {
			return []wasm.V128{in[0].F32x4Mul(sigmoid(f, in[0])).F32x4Mul(in[1])}
		}},
	{name: "gelu", out: []string{"y"}, in: []string{"x"},
		body: func(f *wasm.Function, in, _ []wasm.V128) []wasm.V128 {
			const scale = 2 * 0.7978845608028654 // 2√(2/π): see geluInner
			inner := in[0].F32x4Mul(f.Const(wasm.Floats(scale * 0.044715)).F32x4Mul(in[0]).F32x4Mul(in[0]).F32x4Add(f.Const(wasm.Floats(scale))))
			return []wasm.V128{in[0].F32x4Mul(sigmoid(f, f.Vec(inner)))}
		}},
	{name: "rmsNorm", out: []string{"y"}, in: []string{"x", "w"}, scalars: []string{"rstd"},
		body: func(_ *wasm.Function, in, s []wasm.V128) []wasm.V128 {
			return []wasm.V128{in[0].F32x4Mul(s[0]).F32x4Mul(in[1])}
		}},
	{name: "rotate", out: []string{"y0", "y1"}, in: []string{"x0", "x1", "cos", "sin"}, scalars: []string{"sign"},
		body: func(f *wasm.Function, in, s []wasm.V128) []wasm.V128 {
			sin := f.Vec(in[3].F32x4Mul(s[0]))
			return []wasm.V128{
				f.Vec(in[0].F32x4Mul(in[2]).F32x4Sub(in[1].F32x4Mul(sin))),
				f.Vec(in[1].F32x4Mul(in[2]).F32x4Add(in[0].F32x4Mul(sin))),
			}
		}},
}

func defineVector(m *wasm.Module) {
	for _, l := range loops {
		l.define(m)
	}
}

// vectors is the number of vectors of a step. Four sums keep rounding errors as small as those of the
// assembly for other processors.
func (l loop) vectors() int {
	if l.reduce != nil {
		return 4
	}
	return 1
}

// arrays are the outputs, then the inputs.
func (l loop) arrays() []string { return append(append([]string{}, l.out...), l.in...) }

// source is the type of the function in Go.
func (l loop) source() string {
	source := fmt.Sprintf("func(%s *float32, n int32", strings.Join(l.arrays(), ", "))
	if len(l.scalars) > 0 {
		source += fmt.Sprintf(", %s float32", strings.Join(l.scalars, ", "))
	}
	if l.reduce != nil {
		return source + ") float32"
	}
	return source + ")"
}

func (l loop) define(m *wasm.Module) {
	f := m.Function(l.name+"Vectors", l.source(), fmt.Sprintf("%sVectors is %s of n elements, a multiple of %d, not 0.", l.name, l.name, 4*l.vectors()))
	var scalars, joined []wasm.V128
	for _, name := range l.scalars {
		scalars = append(scalars, f.Vec(f.FloatParam(name).Splat()))
	}
	if l.reduce != nil {
		for range l.vectors() {
			joined = append(joined, f.Vec(wasm.Floats(l.reduce.first)))
		}
	}
	n := f.Param("n")
	f.Loop(func() wasm.I32 {
		for i := range l.vectors() {
			l.step(f, scalars, joined, i)
		}
		for _, name := range l.arrays() {
			f.Set(f.Param(name), f.Param(name).Add(wasm.Int(16*l.vectors())))
		}
		f.Set(n, n.Sub(wasm.Int(4*l.vectors())))
		return n
	})
	if l.reduce != nil {
		join := l.reduce.join
		v := f.Vec(join(join(joined[0], joined[1]), join(joined[2], joined[3])))
		f.Set(v, join(v, v.Words(v, [4]byte{2, 3, 2, 3})))
		f.Return(join(v, v.Words(v, [4]byte{1, 1, 1, 1})).F32x4ExtractLane(0))
	}
}

// step computes vector i from here on.
func (l loop) step(f *wasm.Function, scalars, joined []wasm.V128, i int) {
	var in []wasm.V128
	for _, name := range l.in {
		in = append(in, f.Vec(f.Param(name).Load(16*i)))
	}
	results := l.body(f, in, scalars)
	for r, name := range l.out {
		f.Store(f.Param(name), 16*i, results[r])
	}
	if l.reduce != nil {
		f.Set(joined[i], l.reduce.join(joined[i], results[len(l.out)]))
	}
}

// exp is e^x: see Exp in package simd.
func exp(f *wasm.Function, x wasm.V128) wasm.V128 {
	x = f.Vec(x)
	n := f.Vec(x.F32x4Mul(f.Const(wasm.Floats(math.Log2E))).F32x4Nearest())
	r := f.Vec(x.F32x4Sub(n.F32x4Mul(f.Const(wasm.Floats(0.693359375)))).F32x4Add(n.F32x4Mul(f.Const(wasm.Floats(2.12194440e-4)))))
	y := f.Vec(wasm.Floats(1.9875691500e-4))
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		f.Set(y, y.F32x4Mul(r).F32x4Add(f.Const(wasm.Floats(c))))
	}
	f.Set(y, y.F32x4Mul(r).F32x4Mul(r).F32x4Add(r).F32x4Add(f.Const(wasm.Floats(1))))
	power := n.I32x4TruncSatF32x4S().I32x4Add(f.Const(wasm.Words(127))).I32x4Shl(23)
	f.Set(y, y.F32x4Mul(power))
	f.Set(y, y.AndNot(x.F32x4Lt(f.Const(wasm.Floats(-87.3)))))
	return f.Vec(f.Const(wasm.Floats(float32(math.Inf(1)))).Bitselect(y, x.F32x4Gt(f.Const(wasm.Floats(88.7)))))
}

// sigmoid is 1/(1+e^-x).
func sigmoid(f *wasm.Function, x wasm.V128) wasm.V128 {
	return f.Vec(f.Const(wasm.Floats(1)).F32x4Div(exp(f, x.F32x4Neg()).F32x4Add(f.Const(wasm.Floats(1)))))
}

// adapters is the Go code that calls the loops for slices, and their forms in Go for the last elements.
func adapters() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by command: %s. DO NOT EDIT.\n\npackage simd\n\nfunc init() {\nif !hasModule {\nreturn\n}\n", command)
	for _, l := range loops {
		fmt.Fprintf(&b, "%s = %sWasm\n", l.name, l.name)
	}
	b.WriteString("}\n")
	for _, l := range loops {
		l.adapter(&b)
	}
	out, err := format.Source(b.Bytes())
	if err != nil {
		panic(err) // a bug of the generator
	}
	return out
}

func (l loop) adapter(b *bytes.Buffer) {
	var params, first, rest []string
	for _, name := range l.arrays() {
		params, first, rest = append(params, name+" []float32"), append(first, "&"+name+"[0]"), append(rest, name+"[whole:]")
	}
	first = append(first, "int32(whole)")
	for _, name := range l.scalars {
		params, first, rest = append(params, name+" float32"), append(first, name), append(rest, name)
	}
	vectors := fmt.Sprintf("%sVectors(%s)", l.name, strings.Join(first, ", "))
	last := fmt.Sprintf("%sGo(%s)", l.name, strings.Join(rest, ", "))
	length := fmt.Sprintf("len(%s) &^ %d", l.arrays()[0], 4*l.vectors()-1)
	if l.reduce == nil {
		fmt.Fprintf(b, "\nfunc %sWasm(%s) {\nwhole := %s\nif whole > 0 {\n%s\n}\n%s\n}\n", l.name, strings.Join(params, ", "), length, vectors, last)
		return
	}
	fmt.Fprintf(b, "\nfunc %sWasm(%s) float32 {\nwhole := %s\nif whole == 0 {\nreturn %s\n}\nreturn %s\n}\n",
		l.name, strings.Join(params, ", "), length, last, fmt.Sprintf(l.reduce.goOp, vectors, last))
}
