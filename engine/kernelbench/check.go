package kernelbench

import (
	"context"
	"fmt"
	"math"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// Limits within which the reference takes a fraction of a second.
const (
	checkFlops    = 2e7
	checkElements = 1 << 18
)

// ownTolerance bounds the error at a case's own shape, relative to the largest value:
// sums of 10⁵ float32 terms in any order stay ten times below it; a wrong index or a loop
// that ends early exceeds it.
const ownTolerance = 1e-4

// How a case was checked.
const (
	CheckedHere    = "shape"       // at its own shape
	CheckedVariant = "variant"     // the same variant, at a conformance case
	Unchecked      = "none"        // no conformance case runs this variant
	checkedCase    = "conformance" // it is a conformance case
)

// checker caches which variants have passed.
type checker struct {
	dev     engine.Device
	variant map[string]string // outcome by kernel and variant
}

// check compares the kernel with its reference: at the case's own shape where that is
// small, else at the largest small conformance case that runs the same variant. The
// tolerance for 16-bit inputs that the reference recomputes is known for conformance
// cases only.
func (k *checker) check(ctx context.Context, c *Case, variant string) (string, error) {
	if c.inputs != nil {
		return checkedCase, nil
	}
	if c.Cost.Flops <= checkFlops && c.elements() <= checkElements && !c.roundsRecomputed() {
		given := shaders.Case{Params: c.Params, Inputs: c.contents(), Step: c.Step[:], Atol: ownTolerance}
		return CheckedHere, compare(ctx, k.dev, c, given, true)
	}
	key := c.Kernel.Name + "." + variant
	if outcome, ok := k.variant[key]; ok {
		return outcome, nil
	}
	outcome := Unchecked
	if given, ok := k.conformance(c, variant); ok {
		outcome = CheckedVariant
		if err := compare(ctx, k.dev, fromCase(c.Kernel, given, c.Storage), given, false); err != nil {
			return outcome, fmt.Errorf("conformance case %s: %w", given.Name, err)
		}
	}
	k.variant[key] = outcome
	return outcome, nil
}

// roundsRecomputed reports whether an input that the reference recomputes has 16 bits.
func (c *Case) roundsRecomputed() bool {
	for i, b := range c.Kernel.Bindings {
		if b.Recomputed && c.Storage.Of(i, b).Half() {
			return true
		}
	}
	return false
}

// conformance finds the costliest small case that runs a variant.
func (k *checker) conformance(like *Case, variant string) (best shaders.Case, found bool) {
	maxCost := -1.0
	for _, given := range like.Kernel.Cases() {
		if !like.Kernel.Stores(given.Params, like.Storage) {
			continue
		}
		c := fromCase(like.Kernel, given, like.Storage)
		cost := c.Cost.Flops + c.Cost.Bytes
		if name, _ := variantOf(k.dev, c); name != variant || c.Cost.Flops > checkFlops || c.elements() > checkElements || cost <= maxCost {
			continue
		}
		best, maxCost, found = given, cost, true
	}
	return best, found
}

// compare runs a call once and compares every binding with the reference's. With
// relative, the tolerance is relative to each binding's largest value.
func compare(ctx context.Context, dev engine.Device, c *Case, given shaders.Case, relative bool) error {
	given.Storage = c.Storage
	alone := *c
	alone.shares = make([]int, len(c.shares)) // the reference has a separate array per binding
	for i := range alone.shares {
		alone.shares[i] = i
	}
	x, err := newCall(dev, &alone)
	if err != nil {
		return err
	}
	defer x.free()
	contents := kernelcheck.Fill(c.Kernel, given)
	for i, b := range x.buffers {
		if b != nil {
			if err := engine.Upload(dev, b.View(), kernelcheck.Pack(c.typeOf(i), contents[i])); err != nil {
				return err
			}
		}
	}
	if err := x.program.Run(ctx, &alone.Step); err != nil {
		return err
	}
	want := kernelcheck.Reference(c.Kernel, given, contents)
	for i, b := range x.buffers {
		if b == nil {
			continue
		}
		got, err := x.read(i)
		if err != nil {
			return err
		}
		variant, _ := dev.Info().Choose(c.Kernel, given.Params, given.Storage)
		tolerance := kernelcheck.ForVariant(variant, given)
		if relative {
			tolerance.Atol = given.Atol * largest(want[i].F)
		}
		if _, err := kernelcheck.Compare(c.Kernel, i, tolerance, got, contents[i], want[i]); err != nil {
			return fmt.Errorf("binding %s: %w", c.Kernel.Bindings[i].Name, err)
		}
	}
	return nil
}

func largest(x []float64) float64 {
	largest := 0.0
	for _, v := range x {
		if a := math.Abs(v); a > largest && !math.IsInf(v, 0) {
			largest = a
		}
	}
	return largest
}
