package mutation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/shaders"
)

// Outcome is the outcome of a mutant.
type Outcome string

// Outcomes of a mutant.
const (
	Killed   Outcome = "killed"   // a case failed
	Invalid  Outcome = "invalid"  // the compiler rejected it
	Stopped  Outcome = "stopped"  // the device hung, which a suite would detect
	Survived Outcome = "survived" // all cases passed
)

// Suite runs kernels' cases on mutants. The expected results are computed once.
type Suite struct {
	dev     engine.Device
	compile func(wgsl string) ([]byte, error) // nil: the device compiles WGSL
	cases   map[string][]prepared             // by kernel
	// Alive, if set, is called before every case.
	Alive func()
}

// NewSuite makes a suite for a device that compiles WGSL at run time; for one that needs
// modules, compile makes them.
func NewSuite(dev engine.Device, compile func(wgsl string) ([]byte, error)) *Suite {
	return &Suite{dev: dev, compile: compile, cases: map[string][]prepared{}}
}

// Try plants a mutant in the hosts, one after another, until one fails. The first host
// and those of 32-bit floats run the large cases too; others do if they run no small one.
func (s *Suite) Try(ctx context.Context, hosts []Host, m Mutant) (Outcome, error) {
	outcome := Invalid
	for i, h := range hosts {
		got, err := s.tryIn(ctx, h, m, i == 0 || h.Variant.Storage.Bindings == 0)
		if err != nil {
			return "", fmt.Errorf("%s in %s: %w", m, h.ID(), err)
		}
		if outcome = outcome.And(got); outcome == Killed {
			break
		}
	}
	return outcome, nil
}

// And combines the outcomes of two hosts: killed if one is.
func (o Outcome) And(other Outcome) Outcome {
	for _, stronger := range []Outcome{Killed, Stopped, Survived} {
		if o == stronger || other == stronger {
			return stronger
		}
	}
	return Invalid
}

// plant makes the host's kernel with the mutant in it, nil where it does not compile.
func (s *Suite) plant(h Host, m Mutant) (*shaders.Kernel, error) {
	text, err := h.Plant(m)
	if err != nil || s.compile == nil {
		return h.Kernel.WithText(h.Variant, text, nil), err
	}
	module, err := s.compile(text)
	if err != nil {
		return nil, nil
	}
	return h.Kernel.WithText(h.Variant, text, module), nil
}

func (s *Suite) tryIn(ctx context.Context, h Host, m Mutant, large bool) (Outcome, error) {
	k, err := s.plant(h, m)
	if err != nil {
		return "", err
	}
	if k == nil {
		return Invalid, nil
	}
	ran := 0
	for _, p := range s.prepared(h.Kernel) {
		if !large && p.large && ran > 0 {
			continue
		}
		c := p.get()
		if !slices.Contains(h.Kernel.Runnable(c.Params, c.Storage, s.dev.Info().Caps()), h.Variant) {
			continue
		}
		ran++
		if s.Alive != nil {
			s.Alive()
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

// prepared is a case whose reference is computed on first use.
type prepared struct {
	large bool
	get   func() conformance.Prepared
}

// prepared are a kernel's cases, the small ones first.
func (s *Suite) prepared(k *shaders.Kernel) []prepared {
	if cases, ok := s.cases[k.Name]; ok {
		return cases
	}
	cases := slices.DeleteFunc(conformance.Cases(k), func(c shaders.Case) bool { return c.Long })
	slices.SortStableFunc(cases, func(a, b shaders.Case) int { return cmp.Compare(weight(a), weight(b)) })
	var all []prepared
	for _, c := range cases {
		all = append(all, prepared{c.Elements() > 1<<16, sync.OnceValue(func() conformance.Prepared { return conformance.Prepare(k, c) })})
	}
	s.cases[k.Name] = all
	return all
}

// weight orders cases: those of one element detect little, and the many with special
// values detect little more than others.
func weight(c shaders.Case) int {
	n := c.Elements()
	if n < 16 || c.AnyNonFinite {
		return n + 1<<15
	}
	return n
}
