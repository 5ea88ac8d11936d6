package enginetest

import (
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/shaders"
)

// testKernels runs every case of every kernel, in every variant that fits it.
func testKernels(t *testing.T, dev engine.Device) {
	for _, k := range shaders.All() {
		t.Run(k.Name, func(t *testing.T) {
			cases := conformance.Cases(k)
			if len(cases) == 0 {
				t.Skip("declares no cases")
			}
			wanted := sample16(dev, k, cases)
			for _, c := range cases {
				if testing.Short() && conformance.Large(c) {
					continue
				}
				if c.Long {
					t.Run(c.Name, func(t *testing.T) { t.Skip("takes long; make conformance runs it") })
					continue
				}
				testCase(t, dev, k, c, wanted)
			}
		})
	}
}

// sample16 selects what a software device compares: compilation takes most of its time, and BF16 and F16
// differ in the packing alone, which is in separate files. The variants of a kernel that has several are
// compared in these types by turns. "make conformance" compares all.
func sample16(dev engine.Device, k *shaders.Kernel, cases []shaders.Case) func(c shaders.Case, v conformance.Variant) bool {
	order := map[string]int{}
	for _, c := range cases {
		for _, v := range conformance.VariantsOf(dev, k, c) {
			if _, ok := order[v.Name]; !ok {
				order[v.Name] = len(order)
			}
		}
	}
	return func(c shaders.Case, v conformance.Variant) bool {
		if c.Storage.Bindings == 0 || len(order) == 1 || dev.Info().Kind != "software" {
			return true
		}
		return (c.Storage.Type == shaders.F16) == (order[v.Name]%2 == 1)
	}
}

// testVariants runs every variant of every kernel in the first case of 32-bit floats that
// selects it: bindings do not depend on the contents.
func testVariants(t *testing.T, dev engine.Device) {
	for _, k := range shaders.All() {
		t.Run(k.Name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, c := range conformance.Cases(k) {
				if conformance.Large(c) || c.Long || c.Storage.Bindings != 0 {
					continue
				}
				var unseen []conformance.Variant
				for _, v := range conformance.VariantsOf(dev, k, c) {
					if !seen[v.Name] {
						seen[v.Name], unseen = true, append(unseen, v)
					}
				}
				if len(unseen) > 0 {
					testCaseIn(t, dev, k, c, unseen)
				}
			}
		})
	}
}

// testCase compares a call with its reference, in all of its variants that are wanted.
func testCase(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, wanted func(c shaders.Case, v conformance.Variant) bool) {
	variants := conformance.VariantsOf(dev, k, c)
	if len(variants) == 0 {
		t.Errorf("%s: no variant for %+v", c.Name, c.Params)
	}
	testCaseIn(t, dev, k, c, slices.DeleteFunc(variants, func(v conformance.Variant) bool { return !wanted(c, v) }))
}

func testCaseIn(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case, variants []conformance.Variant) {
	prepared := conformance.Prepare(k, c)
	for _, v := range variants {
		name := c.Name
		if len(variants) > 1 {
			name += "/" + v.Label()
		}
		t.Run(name, func(t *testing.T) {
			switch r := conformance.Try(t.Context(), dev, k, v, prepared); r.Status() {
			case conformance.Failed:
				t.Errorf("%s %s: %v", k.Name, c.Name, r.Err)
			case conformance.XFail:
				t.Skipf("known failure: %s: %v", r.Known, r.Err)
			case conformance.XPass:
				t.Errorf("%s %s passes, and is declared to fail: %s", k.Name, c.Name, r.Known)
			}
		})
	}
}
