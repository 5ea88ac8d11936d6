package enginetest

import (
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
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
	testCaseWithin(t, dev, k, c, 0)
}

// testCaseWithin is testCase with the call cut to bind at most so many bytes of a
// buffer; 0 = no limit.
func testCaseWithin(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, most int64) {
	contents := kernelcheck.Fill(k, c)
	call, err := newCallWithin(dev, k, c, contents, most)
	if err != nil {
		t.Fatal(err)
	}
	defer call.free()
	if err := call.run(t, c.Step); err != nil {
		t.Fatal(err)
	}
	want := kernelcheck.Reference(k, c, contents)
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
		if err := kernelcheck.Compare(k.Bindings[i], c, got[:n], contents[i], want[i]); err != nil {
			t.Errorf("%s %s: binding %s: %v", k.Name, c.Name, k.Bindings[i].Name, err)
		}
	}
}

// guard is what lies behind a binding.
func guard() []uint32 { return slices.Repeat([]uint32{kernelcheck.Garbage}, engine.Alignment/4) }
