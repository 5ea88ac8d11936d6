package enginetest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// testKernels runs every case of every kernel, in every variant that fits it.
func testKernels(t *testing.T, dev engine.Device) {
	for _, k := range shaders.All() {
		t.Run(k.Name, func(t *testing.T) {
			cases := k.Cases()
			if len(cases) == 0 {
				t.Skip("declares no cases")
			}
			for _, c := range cases {
				if testing.Short() && large(c) {
					continue
				}
				classes := variantsOf(dev, k, c.Params)
				if len(classes) == 0 {
					t.Errorf("%s: no variant for %+v", c.Name, c.Params)
				}
				for _, class := range classes {
					name := c.Name
					if len(classes) > 1 {
						name += "/" + className[class]
					}
					t.Run(name, func(t *testing.T) {
						withClass(dev, class, func() { testCase(t, dev, k, c) })
					})
				}
			}
		})
	}
}

// large says whether a case has a million elements or more in one binding.
func large(c shaders.Case) bool {
	return slices.ContainsFunc(c.Inputs, func(in shaders.Input) bool {
		return max(in.N, len(in.F), len(in.I), len(in.U)) >= 1<<20
	})
}

// testCase compares one call with its reference.
func testCase(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case) {
	contents := fill(k, c)
	call, err := newCall(dev, k, c, contents)
	if err != nil {
		t.Fatal(err)
	}
	defer call.free()
	if err := call.run(t, c.Step); err != nil {
		t.Fatal(err)
	}
	want := reference(k, c, contents)
	for i, in := range c.Inputs {
		if in.Absent {
			continue
		}
		got, err := call.read(i)
		if err != nil {
			t.Fatal(err)
		}
		n := len(contents[i])
		if !slices.Equal(got[n:], guard()) {
			t.Errorf("%s %s: binding %s: wrote past its end", k.Name, c.Name, k.Bindings[i].Name)
		}
		if err := compare(k.Bindings[i], c, got[:n], contents[i], want[i]); err != nil {
			t.Errorf("%s %s: binding %s: %v", k.Name, c.Name, k.Bindings[i].Name, err)
		}
	}
}

// garbage stands in what a kernel must overwrite and in the guard behind every
// binding. As a float it is NaN.
const garbage = 0xffd1ebad

// guard is what lies behind a binding.
func guard() []uint32 { return slices.Repeat([]uint32{garbage}, engine.Alignment/4) }

// fill makes the contents of the bindings before the call, as words.
func fill(k *shaders.Kernel, c shaders.Case) [][]uint32 {
	contents := make([][]uint32, len(c.Inputs))
	for i, in := range c.Inputs {
		b := k.Bindings[i]
		switch {
		case in.Absent:
		case b.Access == shaders.Write:
			n := max(in.N, len(in.F), len(in.I), len(in.U))
			contents[i] = slices.Repeat([]uint32{garbage}, n)
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

// reference runs the float64 form over copies of the contents. Every Count is
// first replaced by what the step block makes of it. An element that the
// reference leaves alone keeps its NaN, or for integers its garbage.
func reference(k *shaders.Kernel, c shaders.Case, contents [][]uint32) []shaders.Array {
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
	block := stepBlock(c.Step)
	k.Reference(c.Params, block[:], arrays)
	return arrays
}

func stepBlock(step []uint32) (block [shaders.StepWords]uint32) {
	copy(block[:], step)
	return block
}

// compare says where a binding differs most from what it should hold, and how
// many of its elements are wrong.
func compare(b shaders.Binding, c shaders.Case, got, before []uint32, want shaders.Array) error {
	if b.Access == shaders.Read {
		for i := range got {
			if got[i] != before[i] {
				return fmt.Errorf("[%d] was changed from %#x to %#x, but is only to be read", i, before[i], got[i])
			}
		}
		return nil
	}
	if b.Type == shaders.F32 {
		return compareFloats(c, got, want.F)
	}
	for i, w := range want.I {
		if got[i] != uint32(w) {
			return fmt.Errorf("[%d] = %d, want %d", i, int32(got[i]), int32(w))
		}
	}
	return nil
}

func compareFloats(c shaders.Case, got []uint32, want []float64) error {
	wrong, worst, most := 0, 0, -1.0
	for i, w := range want {
		g := float64(math.Float32frombits(got[i]))
		excess := math.Abs(g-w) - (c.Atol + c.Rtol*math.Abs(w))
		switch {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
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
