package kernelbench

import (
	"context"
	"fmt"

	"patchwork/engine"
	"patchwork/engine/conformance"
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

// compare runs a case's call once and compares every binding with given's reference. With
// relative, the tolerance is relative to each binding's largest value.
func compare(ctx context.Context, dev engine.Device, c *Case, given shaders.Case, relative bool) error {
	given.Storage = c.Storage
	prepared := conformance.Prepare(c.Kernel, given)
	prepared.Params, prepared.Relative = c.Params, relative
	_, err := conformance.Check(ctx, dev, c.Kernel, prepared)
	return err
}
