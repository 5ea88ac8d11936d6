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
				testCase(t, dev, k, c)
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
	prepared := conformance.Prepare(k, c)
	for _, v := range variants {
		name := c.Name
		if len(variants) > 1 {
			name += "/" + v.Label()
		}
		t.Run(name, func(t *testing.T) {
			var err error
			v.With(dev, func() { _, err = conformance.Check(t.Context(), dev, k, prepared) })
			if err != nil {
				t.Errorf("%s %s: %v", k.Name, c.Name, err)
			}
		})
	}
}
