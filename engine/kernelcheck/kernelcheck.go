// Package kernelcheck compares a kernel's results with its float64 reference: the
// contents of a case's bindings, the expected results, and the errors. The conformance
// suite and the benchmarks share it.
package kernelcheck

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders"
)

// Garbage is the initial contents of outputs, and of guards. As a float it is NaN.
const Garbage = 0xffd1ebad

// Fill makes the contents of the bindings before the call, as words.
func Fill(k *shaders.Kernel, c shaders.Case) [][]uint32 {
	contents := make([][]uint32, len(c.Inputs))
	for i, in := range c.Inputs {
		b := k.Bindings[i]
		switch {
		case in.Absent:
		case b.Access == shaders.Write:
			n := in.Len()
			contents[i] = slices.Repeat([]uint32{Garbage}, n)
		case in.F != nil:
			contents[i] = words(in.F, math.Float32bits)
		case in.I != nil:
			contents[i] = words(in.I, func(v int32) uint32 { return uint32(v) })
		case in.U != nil:
			contents[i] = in.U
		default:
			contents[i] = normals(seed(k.Name, c.Name, b.Name), in)
		}
		contents[i] = round(c.Storage.Of(i, b), contents[i])
	}
	return contents
}

func words[T any](values []T, bits func(T) uint32) []uint32 {
	w := make([]uint32, len(values))
	for i, v := range values {
		w[i] = bits(v)
	}
	return w
}

func normals(seed uint64, in shaders.Input) []uint32 {
	random := rand.New(rand.NewPCG(seed, 0))
	w := make([]uint32, in.N)
	for i := range w {
		w[i] = math.Float32bits(float32(in.Mean + in.Scale*random.NormFloat64()))
	}
	return w
}

func seed(names ...string) uint64 {
	h := fnv.New64a()
	for _, n := range names {
		fmt.Fprintf(h, "%s\n", n)
	}
	return h.Sum64()
}

// Reference runs the float64 reference on copies of the contents, with every Count under
// the step block. An element that the reference does not write stays NaN, or for integers
// Garbage.
func Reference(k *shaders.Kernel, c shaders.Case, contents [][]uint32) []shaders.Array {
	arrays := make([]shaders.Array, len(contents))
	for i, w := range contents {
		switch k.Bindings[i].Type {
		case shaders.F32:
			arrays[i].F = make([]float64, len(w))
			for j, v := range w {
				arrays[i].F[j] = float64(math.Float32frombits(v))
			}
		case shaders.I32:
			arrays[i].I = make([]int64, len(w))
			for j, v := range w {
				arrays[i].I[j] = int64(int32(v))
			}
		case shaders.U32:
			arrays[i].I = make([]int64, len(w))
			for j, v := range w {
				arrays[i].I[j] = int64(v)
			}
		}
	}
	block := StepBlock(c.Step)
	k.Reference(c.Params, block[:], arrays)
	return arrays
}

// StepBlock is a case's step block, padded with zeros.
func StepBlock(step []uint32) (block [shaders.StepWords]uint32) {
	copy(block[:], step)
	return block
}

// Compare compares binding i with the expected contents. err reports the element with the
// largest error and the number of wrong ones; worst is the largest error relative to the
// tolerance, at most 1 where err is nil.
func Compare(k *shaders.Kernel, i int, c shaders.Case, got, before []uint32, want shaders.Array) (worst float64, err error) {
	b := k.Bindings[i]
	switch {
	case b.Access == shaders.Read:
		for i := range got {
			if got[i] != before[i] {
				return math.Inf(1), fmt.Errorf("[%d] was changed from %#x to %#x, but it is read-only", i, before[i], got[i])
			}
		}
	case b.Type == shaders.F32:
		return compareFloats(c.Storage.Of(i, b), c, got, want.F)
	default:
		for i, w := range want.I {
			if got[i] != uint32(w) {
				return math.Inf(1), fmt.Errorf("[%d] = %d, want %d", i, int32(got[i]), int32(w))
			}
		}
	}
	return 0, nil
}

func compareFloats(t shaders.Type, c shaders.Case, got []uint32, want []float64) (worst float64, err error) {
	wrong, at := 0, 0
	c = withRounding(t, c)
	for i, w := range want {
		e := excess(t, c, float64(math.Float32frombits(got[i])), w)
		if e > 1 {
			wrong++
		}
		if e > worst {
			worst, at = e, i
		}
	}
	if wrong == 0 {
		return worst, nil
	}
	g, w := float64(math.Float32frombits(got[at])), want[at]
	return worst, fmt.Errorf("%d of %d elements are wrong, the worst is [%d] = %g, want %g: off by %.3g, allowed %.3g (atol %g, rtol %g)",
		wrong, len(want), at, g, w, math.Abs(g-w), c.Atol+c.Rtol*math.Abs(w), c.Atol, c.Rtol)
}

// excess is the error of an element relative to its tolerance.
func excess(t shaders.Type, c shaders.Case, got, want float64) float64 {
	switch {
	case got == want || math.IsNaN(got) && math.IsNaN(want):
		return 0
	case t.Half() && got == float64(t.Format().Round(float32(want))): // correctly rounded, or infinite beyond the largest F16
		return 0
	case c.AnyNonFinite && !finite(want):
		if finite(got) {
			return math.Inf(1)
		}
		return 0
	case c.NaNMaySpread && !finite(got):
		return 0
	case !finite(got) || !finite(want):
		return math.Inf(1)
	}
	return math.Abs(got-want) / (c.Atol + c.Rtol*math.Abs(want))
}

// finite reports whether a float32 can hold x.
func finite(x float64) bool { return math.Abs(x) <= math.MaxFloat32 }
