// Package enginetest is the test suite that every backend of the engine passes: all
// kernels against their float64 references, and the engine's contracts of programs,
// memory and errors.
package enginetest

import (
	"testing"

	"patchwork/engine"
)

// Run runs the whole suite. open returns a device that the suite closes; it skips or
// fails the test when there is none. With -short, large cases are skipped.
func Run(t *testing.T, open func(t *testing.T) engine.Device) {
	with(t, open, func(dev engine.Device) {
		t.Run("Kernels", func(t *testing.T) { testKernels(t, dev) })
		t.Run("Replay", func(t *testing.T) { testReplay(t, dev) })
		t.Run("Split", func(t *testing.T) { testSplit(t, dev) })
		testEngine(t, dev)
	})
}

// RunOnce runs the suite with one small case of every variant of every kernel.
func RunOnce(t *testing.T, open func(t *testing.T) engine.Device) {
	with(t, open, func(dev engine.Device) {
		t.Run("Kernels", func(t *testing.T) { testVariants(t, dev) })
		testEngine(t, dev)
	})
}

// RunEngine runs the suite without the kernels, for a second device that differs
// from the first in how it moves data and not in how it computes.
func RunEngine(t *testing.T, open func(t *testing.T) engine.Device) {
	with(t, open, func(dev engine.Device) { testEngine(t, dev) })
}

func testEngine(t *testing.T, dev engine.Device) {
	t.Run("Programs", func(t *testing.T) { testPrograms(t, dev) })
	t.Run("Errors", func(t *testing.T) { testErrors(t, dev) })
	t.Run("BeyondLimit", func(t *testing.T) { testBeyondLimit(t, dev) })
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

// compile plans and compiles a recording.
func compile(dev engine.Device, p *engine.Program, arena []engine.Memory) (engine.Executable, error) {
	plan, err := engine.NewPlan(p, dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		return nil, err
	}
	return dev.Compile(plan, arena)
}
