package shaders

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// gradientStep is the distance of the central differences. Their error is of the order
// of its square, 1e-10, and float64's rounding of the loss, some 1e-15, over it.
const gradientStep = 1e-5

// gradientTolerance is relative to the largest element of a tensor's gradient. Correct gradients
// are within 7e-10; the smallest planted error is a hundred times the tolerance.
const gradientTolerance = 1e-8

// gradientPair is a forward pass of one or more kernels and the backward pass that is
// compared with the forward pass's central differences, both by the float64 references.
type gradientPair struct {
	name    string
	floats  map[string]int     // sizes of the forward pass's inputs, normally distributed
	ints    map[string][]int64 // its integers
	outputs map[string]int     // sizes of what it writes
	wanted  []string           // the inputs whose gradients, "d" and the name, are checked
	// incoming are the incoming gradients of outputs whose gradient is a constant of the
	// kernel. An output without one gets a normally distributed gradient; one that is
	// named in kept gets none: only the backward pass uses it.
	incoming map[string]float64
	kept     []string
	forward  func(c *calls)
	backward func(c *calls, add uint32) // add = 1: to the gradients that are there
}

// calls makes calls of references over tensors by name.
type calls struct {
	tensors map[string]Array
	ran     func(k *Kernel)
	planted *plantedCall
}

// call runs a kernel's reference over the tensors that are named as its bindings; renamed
// are pairs of a binding and the tensor that replaces it, "" for an absent one.
func (c *calls) call(k *Kernel, params any, renamed ...string) {
	bindings := k.Bindings
	if k.HasScratch() {
		bindings = bindings[:len(bindings)-1]
	}
	arrays := make([]Array, len(bindings))
	for i, b := range bindings {
		name := b.Name
		for r := 0; r < len(renamed); r += 2 {
			if renamed[r] == b.Name {
				name = renamed[r+1]
			}
		}
		array, ok := c.tensors[name]
		if !ok && name != "" {
			panic(fmt.Sprintf("%s: the pair has no tensor %q", k.Name, name))
		}
		arrays[i] = array
	}
	if c.ran != nil {
		c.ran(k)
	}
	if c.planted != nil && c.planted.kernel == k {
		params = c.planted.params(params)
	}
	k.Reference(params, make([]uint32, StepWords), arrays)
}

// gradient is the incoming gradient, or the one that is written, of a tensor.
func (c *calls) gradient(name string) []float64 { return c.tensors["d"+name].F }

// start makes the pair's tensors and runs the forward pass once.
func (p gradientPair) start(ran func(*Kernel)) *calls {
	random := rand.New(rand.NewPCG(15, 11))
	normal := func(n int) Array {
		a := Array{F: make([]float64, n)}
		for i := range a.F {
			a.F[i] = random.NormFloat64()
		}
		return a
	}
	c := &calls{tensors: map[string]Array{}, ran: ran}
	for _, name := range slices.Sorted(maps.Keys(p.floats)) {
		c.tensors[name] = normal(p.floats[name])
	}
	for name, values := range p.ints {
		c.tensors[name] = Array{I: values}
	}
	for _, name := range slices.Sorted(maps.Keys(p.outputs)) {
		c.tensors[name] = Array{F: make([]float64, p.outputs[name])}
		dy := normal(p.outputs[name])
		if g, ok := p.incoming[name]; ok {
			dy.F = slices.Repeat([]float64{g}, len(dy.F))
		}
		if !slices.Contains(p.kept, name) {
			c.tensors["d"+name] = dy
		}
	}
	p.forward(c)
	return c
}

// loss is the sum of the outputs times their incoming gradients.
func (p gradientPair) loss(c *calls) (sum float64) {
	p.forward(c)
	for _, name := range slices.Sorted(maps.Keys(p.outputs)) {
		if !slices.Contains(p.kept, name) {
			sum += dot(c.tensors[name].F, c.gradient(name))
		}
	}
	return sum
}

// differences are the central differences of the loss over every element of an input.
func (p gradientPair) differences(c *calls, name string) []float64 {
	x := c.tensors[name].F
	d := make([]float64, len(x))
	for i, at := range x {
		x[i] = at + gradientStep
		above := p.loss(c)
		x[i] = at - gradientStep
		below := p.loss(c)
		x[i] = at
		d[i] = (above - below) / (2 * gradientStep)
	}
	p.forward(c)
	return d
}

// plantedCall is an error in one kernel's calls of the backward pass: parameters that
// differ from the pair's.
type plantedCall struct {
	name   string
	kernel *Kernel
	params func(params any) any
}

// plantedValue is an error in a gradient that the backward pass added to base, or wrote
// where base is nil.
type plantedValue struct {
	name  string
	plant func(g, base []float64)
}

// check compares the backward pass, called with or without adding, with the differences,
// and returns the largest difference relative to each gradient's size. Errors are planted
// in the calls and in one of the gradients where they are given.
func (p gradientPair) check(ran func(*Kernel), add uint32, call *plantedCall, value *plantedValue, in string) (worst float64, err error) {
	c := p.start(nil)
	bases := map[string][]float64{}
	for i, name := range p.wanted {
		n := len(c.tensors[name].F)
		written := output(n, 0)
		if add != 0 {
			written = values(n, uint64(i), 1)
		}
		bases[name] = wide(written.F).F
		c.tensors["d"+name] = wide(written.F)
	}
	c.ran, c.planted = ran, call
	p.backward(c, add)
	c.ran, c.planted = nil, nil
	for _, name := range p.wanted {
		got := slices.Clone(c.gradient(name))
		if value != nil && name == in {
			value.plant(got, bases[name])
		}
		if add != 0 {
			for i, base := range bases[name] {
				got[i] -= base
			}
		}
		difference, e := compareGradient(got, p.differences(c, name))
		if e != nil && err == nil {
			err = fmt.Errorf("gradient of %s: %w", name, e)
		}
		worst = max(worst, difference)
	}
	return worst, err
}

func compareGradient(got, want []float64) (worst float64, err error) {
	var size float64
	for _, v := range want {
		size = max(size, math.Abs(v))
	}
	if size < 1e-3 {
		return 0, fmt.Errorf("all differences are below 1e-3: nothing is checked")
	}
	for i := range want {
		difference := math.Abs(got[i]-want[i]) / size
		if !(difference <= gradientTolerance) && err == nil {
			err = fmt.Errorf("element %d is %.10g, by differences %.10g: the error is %.1e of the largest element", i, got[i], want[i], difference)
		}
		worst = max(worst, difference)
	}
	return worst, err
}

// TestGradients compares every backward pass with the central differences of its forward
// pass, in float64 by the references of both, element by element.
func TestGradients(t *testing.T) {
	for _, p := range gradientPairs() {
		t.Run(p.name, func(t *testing.T) {
			for _, add := range []uint32{0, 1} {
				worst, err := p.check(nil, add, nil, nil, "")
				if err != nil {
					t.Errorf("adding=%d: %v", add, err)
				}
				t.Logf("adding=%d: within %.1e of the largest element", add, worst)
			}
		})
	}
}

// TestEveryKernelIsGradientChecked: a kernel is part of a pair, or listed in
// withoutGradient with the reason; one that computes gradients is in a backward pass.
func TestEveryKernelIsGradientChecked(t *testing.T) {
	forward, backward := map[*Kernel]bool{}, map[*Kernel]bool{}
	for _, p := range gradientPairs() {
		p.start(func(k *Kernel) { forward[k] = true })
		p.check(func(k *Kernel) { backward[k] = true }, 0, nil, nil, "")
	}
	reasons := maps.Clone(withoutGradient)
	for _, k := range All() {
		reason, excused := reasons[k.Name]
		delete(reasons, k.Name)
		switch {
		case computesGradient(k) && !backward[k]:
			t.Errorf("%s computes a gradient: give it an entry in gradientPairs", k.Name)
		case !forward[k] && !backward[k] && !excused:
			t.Errorf("%s has neither an entry in gradientPairs nor a reason in withoutGradient", k.Name)
		case (forward[k] || backward[k]) && excused:
			t.Errorf("%s is in gradientPairs: remove it from withoutGradient (%s)", k.Name, reason)
		}
	}
	for name := range reasons {
		t.Errorf("withoutGradient names %s, which is not a kernel", name)
	}
}

// computesGradient: by name, or by a parameter that asks for the gradient.
func computesGradient(k *Kernel) bool {
	_, asked := k.params.FieldByName("Grad")
	return asked || strings.HasSuffix(k.Name, "_backward")
}

// TestGradientCheckDetectsErrors plants errors in the backward passes: the check must find
// each of them.
func TestGradientCheckDetectsErrors(t *testing.T) {
	for _, p := range gradientPairs() {
		for _, name := range p.wanted {
			for _, m := range plantedValues {
				if p.floats[name] == 1 && strings.HasPrefix(m.name, "shifted") {
					continue // one element has no other place
				}
				if _, err := p.check(nil, 1, nil, &m, name); err == nil {
					t.Errorf("%s: the gradient of %s, %s: not detected", p.name, name, m.name)
				}
			}
		}
	}
	for _, m := range plantedCalls {
		detected := false
		for _, p := range gradientPairs() {
			_, err := p.check(nil, 0, &m, nil, "")
			detected = detected || err != nil
		}
		if !detected {
			t.Errorf("%s, %s: not detected", m.kernel.Name, m.name)
		}
	}
}

// TestComputesGradient: a kernel that computes a gradient is recognised by its name or its
// parameters.
func TestComputesGradient(t *testing.T) {
	for _, c := range []struct {
		kernel Kernel
		want   bool
	}{
		{Kernel{Name: "new_backward", params: reflect.TypeFor[GELUParams]()}, true},
		{Kernel{Name: "new_loss", params: reflect.TypeFor[CrossEntropyParams]()}, true},
		{Kernel{Name: "new", params: reflect.TypeFor[GELUParams]()}, false},
	} {
		if got := computesGradient(&c.kernel); got != c.want {
			t.Errorf("%s computes a gradient: %v, want %v", c.kernel.Name, got, c.want)
		}
	}
}
