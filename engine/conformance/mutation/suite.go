package mutation

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/shaders"
)

// Outcome is what became of a mutant.
type Outcome string

// Outcomes of a mutant.
const (
	Killed   Outcome = "killed"   // a case failed
	Invalid  Outcome = "invalid"  // the compiler refused it
	Stopped  Outcome = "stopped"  // the device did not come back: a suite would notice
	Survived Outcome = "survived" // all cases passed
)

// Suite runs kernels' cases against mutants. What the cases should give is
// computed once.
type Suite struct {
	dev   engine.Device
	cases map[string][]func() conformance.Prepared // by kernel
}

// NewSuite makes a suite for a device that compiles WGSL at run time.
func NewSuite(dev engine.Device) *Suite {
	return &Suite{dev, map[string][]func() conformance.Prepared{}}
}

// Try plants a mutant in one host and runs the host's cases until one fails.
func (s *Suite) Try(ctx context.Context, h Host, m Mutant) (Outcome, error) {
	k, err := h.Plant(m)
	if err != nil {
		return "", err
	}
	for _, prepared := range s.prepared(h.Kernel) {
		c := prepared()
		if !slices.Contains(h.Kernel.Runnable(c.Params, c.Storage, shaders.Target{}), h.Variant) {
			continue
		}
		_, err := conformance.Check(ctx, s.dev, k, c)
		var wrong *conformance.MismatchError
		switch {
		case errors.As(err, &wrong):
			return Killed, nil
		case err != nil && ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return Invalid, nil
		}
	}
	return Survived, nil
}

// prepared are a kernel's cases, the small ones first.
func (s *Suite) prepared(k *shaders.Kernel) []func() conformance.Prepared {
	if cases, ok := s.cases[k.Name]; ok {
		return cases
	}
	cases := conformance.Cases(k)
	slices.SortStableFunc(cases, func(a, b shaders.Case) int { return cmp.Compare(weight(a), weight(b)) })
	var prepared []func() conformance.Prepared
	for _, c := range cases {
		prepared = append(prepared, sync.OnceValue(func() conformance.Prepared { return conformance.Prepare(k, c) }))
	}
	s.cases[k.Name] = prepared
	return prepared
}

// weight orders cases: those of one element find little, those with special
// values are many and find little more.
func weight(c shaders.Case) int {
	n := c.Elements()
	if n < 16 || c.AnyNonFinite {
		return n + 1<<15
	}
	return n
}
