//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"testing"

	"patchwork/engine/conformance/mutation"
)

// TestMutants plants an error in every variant of every kernel and in every file
// that kernels include: the conformance cases must notice. "make mutants" plants
// all that there are. It runs on a device in software alone, which an endless loop
// does not take away from anybody.
func TestMutants(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	plans, err := mutation.Sample(1)
	if err != nil {
		t.Fatal(err)
	}
	suite := mutation.NewSuite(d)
	for _, p := range plans {
		t.Run(p.Name, func(t *testing.T) {
			outcome := mutation.Survived
			for _, h := range p.Hosts {
				if outcome, err = suite.Try(t.Context(), h, p.Mutant); err != nil {
					t.Fatal(err)
				}
				if outcome != mutation.Survived {
					break
				}
			}
			if outcome != mutation.Killed {
				t.Errorf("%s: %s", p.Mutant, outcome)
			}
		})
	}
}
