// Package kernelbench measures kernels: every case alone, in its own buffers, compared
// with the reference before it is timed, and relative to the device's roofline measured
// in the same run. Tuning of variants uses it.
package kernelbench

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// Case is a kernel call to measure.
type Case struct {
	Work   string // the workload: "train", "decode", …
	Kernel *shaders.Kernel
	Params any
	Name   string // of the parameters: "m=208/n=96/k=96"
	Step   [shaders.StepWords]uint32
	Calls  int          // in the work
	Cost   shaders.Cost // under the step block

	Storage shaders.Storage

	sizes  []int64         // bytes of every binding without the scratch, 0 = absent
	shares []int           // the first binding that has the same memory
	inputs []shaders.Input // nil = valid contents of this size
}

// FromDispatches returns the distinct cases among recorded calls; those that differ
// only in their layout parameters are one.
func FromDispatches(work string, dispatches []engine.Dispatch, step *[shaders.StepWords]uint32) []*Case {
	index := map[string]*Case{}
	var cases []*Case
	for i := range dispatches {
		d := &dispatches[i]
		c := &Case{Work: work, Kernel: d.Kernel, Params: d.Params, Step: *step, Cost: d.Cost(step[:])}
		c.Name = describe(d.Kernel.AtStep(d.Params, step[:]), d.Params)
		if c.Storage = d.Storage; c.Storage.Bindings != 0 {
			c.Name += "/" + c.Storage.Type.String()
		}
		key := d.Kernel.Name + "/" + c.Name + d.Kernel.Describe(d.Storage)
		if index[key] == nil {
			c.bind(d)
			index[key], cases = c, append(cases, c)
		}
		index[key].Calls++
	}
	return cases
}

func (c *Case) bind(d *engine.Dispatch) {
	first := map[engine.View]int{}
	views := d.Views
	if d.Kernel.HasScratch() {
		views = views[:len(views)-1]
	}
	for i, v := range views {
		if _, seen := first[v]; !seen || v.Buffer == nil {
			first[v] = i
		}
		c.sizes, c.shares = append(c.sizes, v.Bytes), append(c.shares, first[v])
	}
}

// FromConformance returns the costliest conformance case of a kernel with at most this
// number of elements in a binding.
func FromConformance(k *shaders.Kernel, elements int64) *Case {
	var best *Case
	for _, given := range k.Cases() {
		c := fromCase(k, given, shaders.Storage{})
		if c.elements() <= elements && (best == nil || c.Cost.Bytes+c.Cost.Flops >= best.Cost.Bytes+best.Cost.Flops) {
			best = c
		}
	}
	return best
}

func fromCase(k *shaders.Kernel, given shaders.Case, s shaders.Storage) *Case {
	c := &Case{Work: "conformance", Kernel: k, Storage: s, Params: given.Params, Calls: 1, inputs: given.Inputs}
	copy(c.Step[:], given.Step)
	c.Cost, c.Name = k.CostAt(given.Params, c.Step[:]), describe(k.AtStep(given.Params, c.Step[:]), given.Params)
	for i, in := range given.Inputs {
		n := max(in.N, len(in.F), len(in.I), len(in.U))
		if in.Absent {
			n = 0
		}
		c.sizes, c.shares = append(c.sizes, engine.BufferSize(c.typeOf(i), n)), append(c.shares, i)
	}
	return c
}

// squareSizes are the sides of the square matmuls that are measured on every device, and
// gpuSizes those measured only on a GPU.
var (
	squareSizes = []int{256, 512, 1024}
	gpuSizes    = []int{2048, 4096, 8192}
)

// Squares are square matmuls of a float type, with larger ones for a GPU.
func Squares(t shaders.Type, gpu bool) []*Case {
	sizes := squareSizes
	if gpu {
		sizes = slices.Concat(squareSizes, gpuSizes)
	}
	return SquareMatmuls(t, sizes, 0)
}

// SquareMatmuls are matmuls of square matrices of a float type, with the given sides.
func SquareMatmuls(t shaders.Type, sides []int, transB uint32) []*Case {
	program := engine.NewProgram("square matmuls")
	for _, n := range sides {
		side := uint32(n)
		view := func(i int) engine.View {
			return kernelcheck.NewBuffer(shaders.MatMul.Bindings[i], t, engine.BufferSize(t, n*n)).View()
		}
		program.Dispatch(shaders.MatMul, shaders.MatMulParams{
			M: shaders.N(n), N: side, K: shaders.N(n), LDA: side, LDB: side, LDC: side, TransB: transB, Batch: 1, Alpha: 1,
		}, view(0), view(1), engine.View{}, engine.View{}, view(4))
	}
	return FromDispatches("squares", program.Dispatches, new([shaders.StepWords]uint32))
}

// elements is the size of the largest binding.
func (c *Case) elements() (n int64) {
	for i := range c.sizes {
		n = max(n, c.elementsOf(i))
	}
	return n
}

// elementsOf is how many elements binding i has.
func (c *Case) elementsOf(i int) int64 { return c.sizes[i] / c.typeOf(i).Size() }

func (c *Case) typeOf(i int) shaders.Type { return c.Storage.Of(i, c.Kernel.Bindings[i]) }

// contents are the bindings before the call.
func (c *Case) contents() []shaders.Input {
	if c.inputs != nil {
		return c.inputs
	}
	n := make([]int, len(c.sizes))
	for i := range c.sizes {
		n[i] = int(c.elementsOf(i))
	}
	return c.Kernel.Inputs(c.Params, c.Step[:], n)
}

// describe names parameters at a step, without zeros and layout parameters.
func describe(params, recorded any) string {
	v := reflect.ValueOf(params)
	var parts []string
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if shaders.IsLayout(field) {
			continue
		}
		name := field.Name
		switch f := v.Field(i).Interface().(type) {
		case shaders.Count:
			part := fmt.Sprintf("%s=%d", strings.ToLower(name), f.Max)
			if max := reflect.ValueOf(recorded).Field(i).Interface().(shaders.Count).Max; max != f.Max {
				part += fmt.Sprintf("of%d", max)
			}
			parts = append(parts, part)
		case uint32:
			if f != 0 {
				parts = append(parts, fmt.Sprintf("%s=%d", strings.ToLower(name), f))
			}
		}
	}
	if len(parts) == 0 {
		return "once"
	}
	return strings.Join(parts, "/")
}
