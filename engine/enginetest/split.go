package enginetest

import (
	"fmt"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/shaders"
)

// testSplit runs the cases of every kernel that can be divided, with smaller binding
// limits, and one call beyond the device's own limit.
func testSplit(t *testing.T, dev engine.Device) {
	for _, k := range shaders.All() {
		cases := k.Cases()
		if len(cases) == 0 || k.Axes(cases[0].Params) == nil {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			splits := 0
			for _, c := range cases {
				if !quick(c) {
					continue
				}
				for _, limit := range limitsFor(k, c) {
					splits++
					t.Run(fmt.Sprintf("%s/%d", c.Name, limit), func(t *testing.T) {
						if _, err := conformance.CheckWithin(t.Context(), dev, k, conformance.Prepare(k, c), limit); err != nil {
							t.Error(err)
						}
					})
				}
			}
			if splits == 0 {
				t.Error("no case is large enough to be split")
			}
		})
	}
}

// quick reports whether a case is small, which is enough to test division.
func quick(c shaders.Case) bool {
	return !slices.ContainsFunc(c.Inputs, func(in shaders.Input) bool { return inputBytes(in) > 1<<19 })
}

// limitsFor are limits that divide each of a case's bindings in two or three, where
// possible.
func limitsFor(k *shaders.Kernel, c shaders.Case) (limits []int64) {
	for _, in := range c.Inputs {
		limit := (inputBytes(in)/2 + engine.Alignment) / engine.Alignment * engine.Alignment
		if !slices.Contains(limits, limit) && divides(k, c, limit) {
			limits = append(limits, limit)
		}
	}
	return limits
}

func inputBytes(in shaders.Input) int64 { return 4 * int64(max(in.N, len(in.F), len(in.I), len(in.U))) }

// maxParts is more than any device's limit divides a call into: sums of thousands of
// parts are less exact than a case's tolerance.
const maxParts = 256

// divides reports whether a call can be divided to this limit.
func divides(k *shaders.Kernel, c shaders.Case, limit int64) bool {
	p := engine.NewProgram(k.Name)
	views := make([]engine.View, len(c.Inputs))
	for i, in := range c.Inputs {
		if !in.Absent {
			views[i] = engine.NewBuffer(k.Bindings[i].Name, inputBytes(in)).View()
		}
	}
	p.Dispatch(k, c.Params, views...)
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		return false
	}
	plan = plan.Within(limit)
	for _, d := range plan.Dispatches {
		for _, v := range d.Views {
			if v.Bytes > limit {
				return false
			}
		}
	}
	return len(plan.Dispatches) > 1 && len(plan.Dispatches) <= maxParts
}

// testBeyondLimit fills and reads a buffer larger than the binding limit.
func testBeyondLimit(t *testing.T, dev engine.Device) {
	limit := dev.Info().Limits.MaxBindingBytes
	if limit == 0 || limit > 256<<20 {
		t.Skipf("%s binds %s at once: too much to fill in a test", dev.Info().Device, engine.Bytes(limit))
	}
	n := int(limit/4) + 1000
	y, sum := engine.NewBuffer("y", int64(4*n)), engine.NewBuffer("sum", 4)
	allocate(t, dev, y, sum)
	p := engine.NewProgram("beyond the limit")
	p.Dispatch(shaders.Fill, shaders.FillParams{N: uint32(n), Value: 0.5}, y.View())
	p.Dispatch(shaders.Sum, shaders.SumParams{N: shaders.N(n)}, y.View(), sum.View())
	e := mustCompile(t, dev, p, nil)
	mustRun(t, e, &noStep)
	if got, want := download(t, dev, sum)[0], float32(n)/2; got != want {
		t.Errorf("%d halves make %g, want %g", n, got, want)
	}
	timings, err := e.Profile(t.Context(), &noStep)
	if err != nil {
		t.Fatal(err)
	}
	if len(timings) != 2 || timings[1].Dispatch != 1 {
		t.Errorf("two dispatches have the timings %+v", timings)
	}
}
