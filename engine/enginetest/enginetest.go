// Package enginetest is the conformance suite that every backend of the engine
// passes: all kernels against their float64 references, and what the engine
// promises about programs, memory and errors.
package enginetest

import (
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// Run runs the whole suite. open returns a device that the suite closes; it
// skips or fails the test when there is none. With -short, large cases are left
// out.
func Run(t *testing.T, open func(t *testing.T) engine.Device) {
	with(t, open, func(dev engine.Device) {
		t.Run("Kernels", func(t *testing.T) { testKernels(t, dev) })
		t.Run("Split", func(t *testing.T) { testSplit(t, dev) })
		testEngine(t, dev)
	})
}

// RunEngine runs the suite without the kernels' cases, for a second device that
// differs from the first in how it moves data and not in how it computes.
func RunEngine(t *testing.T, open func(t *testing.T) engine.Device) {
	with(t, open, func(dev engine.Device) { testEngine(t, dev) })
}

func testEngine(t *testing.T, dev engine.Device) {
	t.Run("Programs", func(t *testing.T) { testPrograms(t, dev) })
	t.Run("Errors", func(t *testing.T) { testErrors(t, dev) })
}

// with opens a device for f and closes it.
func with(t *testing.T, open func(t *testing.T) engine.Device, f func(dev engine.Device)) {
	dev := open(t)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	t.Logf("%s: %s, %s", dev.Info().Device, dev.Info().Name, dev.Info().Driver)
	f(dev)
}

// classed is a device that can run the variants meant for another class.
type classed interface{ SetClass(shaders.Class) }

// className names a class in subtests.
var className = map[shaders.Class]string{
	shaders.Software: "software", shaders.Integrated: "integrated", shaders.Discrete: "discrete",
}

// variantsOf returns a class for every variant that some class would run with
// these parameters and this storage. On the CPU, which has one form of each kernel, that is its own.
func variantsOf(dev engine.Device, k *shaders.Kernel, params any, s shaders.Storage) []shaders.Class {
	own := dev.Info().Class
	if _, ok := dev.(classed); !ok {
		return []shaders.Class{own}
	}
	var classes []shaders.Class
	seen := map[*shaders.Variant]bool{}
	for _, class := range []shaders.Class{own, shaders.Software, shaders.Integrated, shaders.Discrete} {
		if v := k.Choose(params, s, class); v != nil && !seen[v] {
			seen[v] = true
			classes = append(classes, class)
		}
	}
	return classes
}

// withClass runs f while the device chooses the variants of a class.
func withClass(dev engine.Device, class shaders.Class, f func()) {
	if d, ok := dev.(classed); ok {
		defer d.SetClass(dev.Info().Class)
		d.SetClass(class)
	}
	f()
}
