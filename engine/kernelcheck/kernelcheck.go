// Package kernelcheck holds a kernel's results to its float64 reference: the
// contents of a case's bindings, what they should become, and how far they are
// from it. The conformance suite and the benchmarks share it.
package kernelcheck

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders"
)

// Garbage stands in what a kernel must overwrite, and may stand as a guard behind
// a binding. As a float it is NaN.
const Garbage = 0xffd1ebad

// Fill makes the contents of the bindings before the call, as words.
func Fill(k *shaders.Kernel, c shaders.Case) [][]uint32 {
	contents := make([][]uint32, len(c.Inputs))
	for i, in := range c.Inputs {
		b := k.Bindings[i]
		switch {
		case in.Absent:
		case b.Access == shaders.Write:
			n := max(in.N, len(in.F), len(in.I), len(in.U))
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
	}
	return contents
}

// Round rounds the contents of the bindings that are stored in 16 bits.
func Round(k *shaders.Kernel, s shaders.Storage, contents [][]uint32) {
	for i, w := range contents {
		if t := s.Of(i, k.Bindings[i]); t.Half() {
			contents[i] = words(w, func(v uint32) uint32 {
				return math.Float32bits(t.Format().Round(math.Float32frombits(v)))
			})
		}
	}
}

// Pack lays floats, given as words, out as memory of a type holds them.
func Pack(t shaders.Type, wide []uint32) []uint32 {
	if !t.Half() {
		return wide
	}
	packed := make([]uint32, (len(wide)+1)/2)
	for i, w := range wide {
		var narrow [1]uint16
		t.Format().Pack(narrow[:], []float32{math.Float32frombits(w)})
		packed[i/2] |= uint32(narrow[0]) << (16 * (i % 2))
	}
	return packed
}

// Unpack undoes Pack for the first n elements.
func Unpack(t shaders.Type, packed []uint32, n int) []uint32 {
	if !t.Half() {
		return packed[:n]
	}
	wide := make([]uint32, n)
	for i := range wide {
		var x [1]float32
		t.Format().Unpack(x[:], []uint16{uint16(packed[i/2] >> (16 * (i % 2)))})
		wide[i] = math.Float32bits(x[0])
	}
	return wide
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

// Reference runs the float64 form over copies of the contents. Every Count is
// first replaced by what the step block makes of it. An element that the
// reference leaves alone keeps its NaN, or for integers its Garbage.
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

// StepBlock is a case's step block, filled up with zeros.
func StepBlock(step []uint32) (block [shaders.StepWords]uint32) {
	copy(block[:], step)
	return block
}

// Compare says where a binding, stored as the given type, differs most from what it
// should hold, and how many of its elements are wrong.
func Compare(b shaders.Binding, stored shaders.Type, c shaders.Case, got, before []uint32, want shaders.Array) error {
	if b.Access == shaders.Read {
		for i := range got {
			if got[i] != before[i] {
				return fmt.Errorf("[%d] was changed from %#x to %#x, but is only to be read", i, before[i], got[i])
			}
		}
		return nil
	}
	if b.Type == shaders.F32 {
		return compareFloats(stored, c, got, want.F)
	}
	for i, w := range want.I {
		if got[i] != uint32(w) {
			return fmt.Errorf("[%d] = %d, want %d", i, int32(got[i]), int32(w))
		}
	}
	return nil
}

// rounding is how far the nearest value of a type is: a part of the value, or an
// absolute distance among F16's smallest.
func rounding(t shaders.Type) (relative, absolute float64) {
	switch t {
	case shaders.BF16:
		return 0x1p-8, 0
	case shaders.F16:
		return 0x1p-11, 0x1p-25
	}
	return 0, 0
}

func compareFloats(stored shaders.Type, c shaders.Case, got []uint32, want []float64) error {
	relative, absolute := rounding(stored)
	c.Rtol, c.Atol = c.Rtol+relative, c.Atol+absolute
	wrong, worst, most := 0, 0, -1.0
	for i, w := range want {
		g := float64(math.Float32frombits(got[i]))
		excess := math.Abs(g-w) - (c.Atol + c.Rtol*math.Abs(w))
		switch {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
			continue
		case stored.Half() && g == float64(stored.Format().Round(float32(w))): // infinite, beyond the largest F16
			continue
		case math.IsNaN(excess):
			excess = math.Inf(1)
		case excess <= 0:
			continue
		}
		wrong++
		if excess > most {
			worst, most = i, excess
		}
	}
	if wrong == 0 {
		return nil
	}
	g, w := float64(math.Float32frombits(got[worst])), want[worst]
	return fmt.Errorf("%d of %d elements are wrong, the worst is [%d] = %g, want %g: off by %.3g, allowed %.3g (atol %g, rtol %g)",
		wrong, len(want), worst, g, w, math.Abs(g-w), c.Atol+c.Rtol*math.Abs(w), c.Atol, c.Rtol)
}
