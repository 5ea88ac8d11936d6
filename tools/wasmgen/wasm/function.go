package wasm

import (
	"bytes"
	"fmt"
	"go/token"
	"go/types"
	"strings"
)

// Function is a function while it is generated.
type Function struct {
	Relaxed           bool // see Module
	name, doc, source string
	params            *types.Tuple
	results           []kind
	locals            []kind // after the parameters
	constants         map[string]V128
	start, body       []byte // start sets the constants
}

// Param returns a parameter that is an integer or an address.
func (f *Function) Param(name string) I32 { return local(f.param(name, i32)) }

// FloatParam returns a parameter that is a float.
func (f *Function) FloatParam(name string) F32 { return local(f.param(name, f32)) }

func (f *Function) param(name string, k kind) int {
	for i := range f.params.Len() {
		if p := f.params.At(i); p.Name() == name && kindOf(p.Type()) == k {
			return i
		}
	}
	panic(fmt.Sprintf("%s has no such parameter: %s", f.name, name))
}

// kindOf is the type of a Go parameter: of an int32 or a float32, else a pointer.
func kindOf(t types.Type) kind {
	if b, ok := t.(*types.Basic); ok && b.Kind() == types.Float32 {
		return f32
	}
	return i32
}

func local(i int) []byte { return join([]byte{0x20}, unsigned(uint32(i))) }

// Int returns a new variable, set to x.
func (f *Function) Int(x I32) I32 { v := I32(f.variable(i32)); f.Set(v, x); return v }

// Vec returns a new variable, set to x.
func (f *Function) Vec(x V128) V128 { v := V128(f.variable(v128)); f.Set(v, x); return v }

// Vecs returns n new variables, zero.
func (f *Function) Vecs(n int) []V128 {
	v := make([]V128, n)
	for i := range v {
		v[i] = f.Vec(Zero())
	}
	return v
}

// Const returns a variable that holds a constant throughout the function. An engine may otherwise load
// a constant again wherever it is used.
func (f *Function) Const(x V128) V128 {
	v, known := f.constants[string(x)]
	if !known {
		if f.constants == nil {
			f.constants = map[string]V128{}
		}
		v = V128(f.variable(v128))
		f.start = join(f.start, x, []byte{0x21}, v[1:])
		f.constants[string(x)] = v
	}
	return v
}

func (f *Function) variable(k kind) []byte {
	f.locals = append(f.locals, k)
	return local(f.params.Len() + len(f.locals) - 1)
}

// Set assigns to a parameter or a variable.
func (f *Function) Set(variable, x value) {
	if variable.kind() != x.kind() || variable.code()[0] != 0x20 {
		panic(f.name + ": assignment to what is no variable of that type")
	}
	f.emit(x.code(), []byte{0x21}, variable.code()[1:])
}

// MulAdd adds x·y to a variable, in relaxed SIMD with one rounding where the processor can.
func (f *Function) MulAdd(variable, x, y V128) {
	if f.Relaxed {
		f.Set(variable, V128(join(x, y, variable, simd(0x105))))
	} else {
		f.Set(variable, variable.F32x4Add(x.F32x4Mul(y)))
	}
}

// Store writes 16 bytes, n bytes after p.
func (f *Function) Store(p I32, n int, x V128) { f.emit(p, x, simd(0x0b), at(n)) }

// StoreLow writes the first bytes of x: 4 or 8.
func (f *Function) StoreLow(size int, p I32, n int, x V128) {
	op := uint32(0x5a)
	if size == 8 {
		op = 0x5b
	}
	f.emit(p, x, simd(op), at(n), []byte{0})
}

// If runs then where c is not 0.
func (f *Function) If(c I32, then func()) {
	f.emit(c, []byte{0x04, 0x40})
	then()
	f.emit([]byte{0x0b})
}

// IfElse runs one of two.
func (f *Function) IfElse(c I32, then, otherwise func()) {
	f.emit(c, []byte{0x04, 0x40})
	then()
	f.emit([]byte{0x05})
	otherwise()
	f.emit([]byte{0x0b})
}

// Loop runs body, and again while the value that it returns is not 0.
func (f *Function) Loop(body func() I32) {
	f.emit([]byte{0x03, 0x40})
	f.emit(body(), []byte{0x0d, 0, 0x0b})
}

// While runs body as long as c is not 0 before it.
func (f *Function) While(c I32, body func()) {
	f.If(c, func() { f.Loop(func() I32 { body(); return c }) })
}

// Return ends a function with a result.
func (f *Function) Return(x value) {
	f.results = []kind{x.kind()}
	f.emit(x.code())
}

func (f *Function) emit(parts ...[]byte) { f.body = append(f.body, join(parts...)...) }

// entry is the function's type as it is encoded.
func (f *Function) entry() []byte {
	params := make([]byte, f.params.Len())
	for i := range params {
		params[i] = byte(kindOf(f.params.At(i).Type()))
	}
	results := make([]byte, len(f.results))
	for i, k := range f.results {
		results[i] = byte(k)
	}
	return join([]byte{0x60}, sized(params), sized(results))
}

// encoded is the code with its locals.
func (f *Function) encoded() []byte {
	locals := unsigned(uint32(len(f.locals)))
	for _, k := range f.locals {
		locals = append(locals, 1, byte(k))
	}
	return sized(join(locals, f.start, f.body, []byte{0x0b}))
}

// forward is the code of a function that calls entry i of the table.
func (f *Function) forward(i, typeIndex int) []byte {
	body := []byte{0}
	for p := range f.params.Len() {
		body = append(body, local(p)...)
	}
	return sized(join(body, Int(i), []byte{0x11}, unsigned(uint32(typeIndex)), []byte{0, 0x0b}))
}

// stub is the function's declaration in Go.
func (f *Function) stub(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n// %s\n//\n//go:wasmimport %s %s\n//go:noescape\nfunc %s%s\n", f.doc, Imports, f.name, f.name, strings.TrimPrefix(f.source, "func"))
}

// signature parses the type of a function.
func signature(source string) *types.Signature {
	tv, err := types.Eval(token.NewFileSet(), nil, token.NoPos, source)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", source, err)) // a bug of the generator
	}
	return tv.Type.(*types.Signature)
}
