//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"slices"
	"testing"

	"patchwork/engine/conformance/mutation"
	"patchwork/engine/enginetest"
	"patchwork/shaders/naga"
)

// TestMutants plants errors as engine/webgpu's test does, in the variants that WebGPU
// cannot compile, one per file and in 32-bit floats: a software device takes seconds to
// compile one.
func TestMutants(t *testing.T) {
	if _, err := naga.Version(); err != nil {
		t.Skip(err)
	}
	d := openSoftware(t, false)
	defer d.Close()
	plans, err := enginetest.SampleMutants(1)
	if err != nil {
		t.Fatal(err)
	}
	suite := mutation.NewSuite(d, naga.CompileBounded)
	planted := map[string]bool{} // files: their variants differ in constants
	for _, p := range plans {
		if slices.ContainsFunc(p.Hosts, func(h mutation.Host) bool { return !h.Subgroup() || h.Variant.Storage.Bindings != 0 }) {
			continue
		}
		if planted[p.Mutant.File] {
			continue
		}
		planted[p.Mutant.File] = true
		t.Run(p.Name, func(t *testing.T) {
			if outcome, err := suite.Try(t.Context(), p.Hosts, p.Mutant); err != nil || outcome != mutation.Killed {
				t.Errorf("%s: %s %v", p.Mutant, outcome, err)
			}
		})
	}
}
