package enginetest

import (
	"fmt"
	"hash/fnv"
	"strings"

	"patchwork/engine/conformance/mutation"
	"patchwork/shaders"
)

// MutantPlan is a mutant and the variants, one of which must fail.
type MutantPlan struct {
	Name   string
	Mutant mutation.Mutant
	Hosts  []mutation.Host
}

// SampleMutants plans n errors for every variant of every kernel, in its own file, and n for
// every included file: always the same ones, only those not declared equivalent.
func SampleMutants(n int) ([]MutantPlan, error) {
	sources, err := mutation.Sources()
	if err != nil {
		return nil, err
	}
	var plans []MutantPlan
	for _, s := range sources {
		own := false
		for _, h := range s.Hosts {
			if h.Variant.Source+".wgsl" == s.File {
				own = true
				if s := h.Variant.Storage; s.Bindings != 0 && s.Type == shaders.F16 {
					continue // the text of BF16, except the packing, which is in a separate file
				}
				plans = append(plans, sample(&s, n, h.ID(), []mutation.Host{h})...)
			}
		}
		if !own {
			plans = append(plans, sample(&s, n, s.Name, s.Hosts)...)
		}
	}
	return plans, nil
}

// sample takes n errors by a hash of the name: in arithmetic, or removed statements where
// several variants share a file, since multiplications by their constants may be by 0 or
// 1.
func sample(s *mutation.Source, n int, name string, hosts []mutation.Host) []MutantPlan {
	var arithmetic, statements, all []mutation.Mutant
	for i, m := range s.Mutants {
		if s.Equivalent(i) {
			continue
		}
		all = append(all, m)
		switch {
		case m.Before == "+" || m.Before == "*":
			arithmetic = append(arithmetic, m)
		case m.Kind == mutation.Statement && !strings.Contains(m.Before, "Barrier"):
			statements = append(statements, m)
		}
	}
	strong := arithmetic
	if len(strong) == 0 || len(s.Hosts) > 1 && len(statements) > 0 {
		strong = statements
	}
	if len(strong) == 0 {
		strong = all
	}
	if len(strong) == 0 {
		return nil
	}
	var plans []MutantPlan
	for i := range n {
		h := fnv.New32a()
		fmt.Fprintf(h, "%s %d", name, i)
		plans = append(plans, MutantPlan{name, strong[int(h.Sum32())%len(strong)], hosts})
	}
	return plans
}
