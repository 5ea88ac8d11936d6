package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

type neonVec = *arm64.V

// neonBody is a loop's body for NEON. It takes the vectors of the inputs and returns those of the
// outputs and then what is to be reduced: with the reduction products two factors, else one value.
type neonBody func(v *neonVectors, in, scalars []neonVec) []neonVec

// neonVectors is the state of a loop while it is generated.
type neonVectors struct {
	*arm64.Function
	loop
	add    bool
	reduce neonReduction

	pointers  map[string]arm64.R
	constants arm64.R
	numbers   []neonVec
	acc       []neonVec // one for each vector of a step
	single    neonVec   // in lane 0: of the values after the last vector
}

type neonReduction int

const (
	neonNone neonReduction = iota
	neonSum
	neonProducts // Σ of the products of two values
	neonMost
)

// neonUnroll is the number of vectors of a step of a reduction, whose accumulators are independent.
const neonUnroll = 4

func defineNeonVector(f *arm64.File) {
	f.Floats("vectorConstants", neonConstants...)
	for _, l := range loops {
		names := []bool{false}
		if l.withAdd {
			names = append(names, true)
		}
		for _, add := range names {
			v := neonVectors{loop: l, add: add}
			v.define(f)
		}
	}
}

func (v *neonVectors) define(f *arm64.File) {
	name := v.name
	if v.add {
		name += "Add"
	}
	body, known := neonBodies[v.name]
	if !known {
		panic("no NEON body for " + v.name) // a bug of the generator
	}
	v.reduce = map[reduction]neonReduction{none: neonNone, sum: neonSum, most: neonMost}[v.loop.reduce]
	if body.products {
		v.reduce = neonProducts
	}
	signature := (&vectors{loop: v.loop}).signature()
	v.Function = f.Function(name+"NEON", signature, name+"NEON: see the Go form.")
	v.pointers = map[string]arm64.R{}
	all := (&vectors{loop: v.loop}).slices()
	for _, s := range all {
		v.pointers[s] = v.Base(s)
	}
	n := v.Len(all[0])
	v.constants = v.Reg()
	v.Op("MOVD $vectorConstants<>(SB), %s", v.constants)
	for _, s := range v.scalars {
		x := v.Pinned()
		v.Broadcast(x, s)
		v.numbers = append(v.numbers, x)
	}
	v.start()
	if v.reduce != neonNone {
		v.repeat("steps", n, 4*neonUnroll, func() { v.step(body.of, neonUnroll) })
	}
	v.repeat("vectors", n, 4, func() { v.step(body.of, 1) })
	v.repeat("values", n, 1, func() { v.value(body.of) })
	v.finish()
	v.Return()
}

// repeat runs body while n is at least a size, and takes that from n.
func (v *neonVectors) repeat(label string, n arm64.R, size int, body func()) {
	v.Op("SUBS $%d, %s, %s", size, n, n)
	v.Branch("BLT %s_end", label)
	v.Label(label)
	body()
	v.Op("SUBS $%d, %s, %s", size, n, n)
	v.Branch("BGE %s", label)
	v.Label(label + "_end")
	v.Op("ADD $%d, %s, %s", size, n, n)
}

// step computes some vectors.
func (v *neonVectors) step(body neonBody, count int) {
	for i := range count {
		in := make([]neonVec, len(v.in))
		for j, s := range v.in {
			in[j] = v.Vec()
			v.load(arm64.Four, in[j], s, i, i+1 == count, count)
		}
		values := v.body(body, in, arm64.Four, i, i+1 == count, count)
		if v.reduce != neonNone {
			v.accumulate(v.acc[i], values[len(v.out):])
		}
	}
}

// value computes one value, in lane 0.
func (v *neonVectors) value(body neonBody) {
	in := make([]neonVec, len(v.in))
	for j, s := range v.in {
		in[j] = v.Vec()
		v.load(arm64.One, in[j], s, 0, true, 1)
	}
	values := v.body(body, in, arm64.One, 0, true, 1)
	switch rest := values[len(v.out):]; v.reduce {
	case neonSum:
		v.FADDS(v.single, v.single, rest[0])
	case neonProducts:
		v.FMADDS(v.single, v.single, rest[0], rest[1])
	case neonMost:
		v.FMAXNMS(v.single, v.single, rest[0])
	}
}

// body computes and stores the outputs.
func (v *neonVectors) body(body neonBody, in []neonVec, w arm64.Width, i int, last bool, count int) []neonVec {
	values := body(v, in, v.numbers)
	for j, s := range v.out {
		if v.add {
			old := v.Vec()
			v.Load(w, old, v.pointers[s], 16*i)
			v.FADD(values[j], old, values[j])
		}
		if last {
			v.StoreLast(w, values[j], v.pointers[s], 16*i, width(w)*count)
			continue
		}
		v.Store(w, values[j], v.pointers[s], 16*i)
	}
	return values
}

func width(w arm64.Width) int {
	if w == arm64.One {
		return 4
	}
	return 16
}

// load loads vector i of a step. The last load of what is not an output too advances.
func (v *neonVectors) load(w arm64.Width, to neonVec, s string, i int, last bool, count int) {
	_, output := find(v.out, s)
	switch {
	case last && !output:
		v.LoadLast(w, to, v.pointers[s], 16*i, width(w)*count)
	default:
		v.Load(w, to, v.pointers[s], 16*i)
	}
}

func (v *neonVectors) start() {
	if v.reduce == neonNone {
		return
	}
	v.acc, v.single = v.Vecs(neonUnroll), v.Pinned()
	for _, x := range append([]neonVec{v.single}, v.acc...) {
		if v.reduce == neonMost {
			v.Load(arm64.Four, x, v.constants, v.offset(negativeInfinity))
		} else {
			v.Zero(x)
		}
	}
}

func (v *neonVectors) accumulate(acc neonVec, x []neonVec) {
	switch v.reduce {
	case neonSum:
		v.FADD(acc, acc, x[0])
	case neonProducts:
		v.FMLA(acc, x[0], x[1])
	case neonMost:
		v.FMAXNM(acc, acc, x[0])
	}
}

// finish reduces the lanes of the accumulators.
func (v *neonVectors) finish() {
	if v.reduce == neonNone {
		return
	}
	fold := v.FADD
	if v.reduce == neonMost {
		fold = v.FMAXNM
	}
	for n := neonUnroll / 2; n > 0; n /= 2 {
		for i := range n {
			fold(v.acc[i], v.acc[i], v.acc[i+n])
		}
	}
	x := v.Vec()
	if v.reduce == neonMost {
		v.FMAXNMV(x, v.acc[0])
		v.FMAXNMS(x, x, v.single)
	} else {
		pairs := v.Vec()
		v.FADDP(pairs, v.acc[0], v.acc[0])
		v.FADDPair(x, pairs)
		v.FADDS(x, x, v.single)
	}
	v.Result(x)
}

// constant loads a number into every lane.
func (v *neonVectors) constant(x float32) neonVec {
	d := v.Vec()
	v.Load(arm64.Four, d, v.constants, v.offset(x))
	return d
}

func (v *neonVectors) offset(x float32) int {
	for i, known := range neonConstants {
		if known == x {
			return 16 * i
		}
	}
	panic(fmt.Sprintf("constant %g is not declared", x))
}
