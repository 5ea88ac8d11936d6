package enginetest

import (
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
			for _, c := range cases {
				if testing.Short() && conformance.Large(c) {
					continue
				}
				if c.Long {
					t.Run(c.Name, func(t *testing.T) { t.Skip("takes long; make conformance runs it") })
					continue
				}
				testCase(t, dev, k, c)
			}
		})
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

// testCase compares a call with its reference, in all of its variants.
func testCase(t *testing.T, dev engine.Device, k *shaders.Kernel, c shaders.Case) {
	variants := conformance.VariantsOf(dev, k, c)
	if len(variants) == 0 {
		t.Errorf("%s: no variant for %+v", c.Name, c.Params)
	}
	testCaseIn(t, dev, k, c, variants)
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
