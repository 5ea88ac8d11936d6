//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"slices"
	"testing"

	"patchwork/engine/conformance/mutation"
	"patchwork/engine/enginetest"
)

// TestMutants plants an error in every variant of every kernel and in every included
// file: the conformance cases must detect it. "make mutants" plants all mutants. It runs
// only on a software device, which an endless loop does not block for others.
func TestMutants(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	plans, err := enginetest.SampleMutants(1)
	if err != nil {
		t.Fatal(err)
	}
	suite := mutation.NewSuite(d, nil)
	for _, p := range plans {
		hosts := slices.DeleteFunc(p.Hosts, mutation.Host.Subgroup)
		if len(hosts) == 0 {
			continue // engine/vulkan's test
		}
		t.Run(p.Name, func(t *testing.T) {
			if outcome, err := suite.Try(t.Context(), hosts, p.Mutant); err != nil || outcome != mutation.Killed {
				t.Errorf("%s: %s %v", p.Mutant, outcome, err)
			}
		})
	}
}
