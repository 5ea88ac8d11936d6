package enginetest

import (
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// testKernels runs every case of every kernel, in every variant that fits it. With
// floats of 16 bits, where the kernel takes them, the small cases do.
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
				testVariants(t, dev, k, c, shaders.Storage{})
			}
			for _, s := range k.Storages()[1:] {
				t.Run(k.Describe(s), func(t *testing.T) { testStorage(t, dev, k, cases, s) })
			}
		})
	}
}

// testStorage runs the small cases that a storage fits.
func testStorage(t *testing.T, dev engine.Device, k *shaders.Kernel, cases []shaders.Case, s shaders.Storage) {
	ran := 0
	for _, c := range cases {
		if !large(c) && k.Stores(c.Params, s) {
			testVariants(t, dev, k, c, s)
			ran++
		}
	}
	if ran == 0 {
		t.Errorf("no case of %s has rows of even length", k.Name)
	}
}

// testVariants runs a case in every variant that fits it.
func testVariants(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, s shaders.Storage) {
	classes := variantsOf(dev, k, c.Params, s)
	if len(classes) == 0 {
		t.Errorf("%s: no variant for %+v", c.Name, c.Params)
	}
	for _, class := range classes {
		name := c.Name
		if len(classes) > 1 {
			name += "/" + className[class]
		}
		t.Run(name, func(t *testing.T) {
			withClass(dev, class, func() { testCase(t, dev, k, c, s) })
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
func testCase(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, s shaders.Storage) {
	testCaseWithin(t, dev, k, c, s, 0)
}

// testCaseWithin is testCase with the call cut to bind at most so many bytes of a
// buffer; 0 = no limit.
func testCaseWithin(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, s shaders.Storage, most int64) {
	contents := kernelcheck.Fill(k, c)
	kernelcheck.Round(k, s, contents)
	call, err := newCallWithin(dev, k, c, s, contents, most)
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
		got, behind, err := call.read(i, len(contents[i]))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(behind, guard()) {
			t.Errorf("%s %s: binding %s: wrote past its end", k.Name, c.Name, k.Bindings[i].Name)
		}
		if err := kernelcheck.Compare(k.Bindings[i], s.Of(i, k.Bindings[i]), c, got, contents[i], want[i]); err != nil {
			t.Errorf("%s %s: binding %s: %v", k.Name, c.Name, k.Bindings[i].Name, err)
		}
	}
}

// guard is what lies behind a binding.
func guard() []uint32 { return slices.Repeat([]uint32{kernelcheck.Garbage}, engine.Alignment/4) }
