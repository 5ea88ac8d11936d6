package mutation

import (
	"fmt"
	"hash/fnv"
	"strings"

	"patchwork/shaders"
)

// Plan is a mutant and the variants, one of which must fail.
type Plan struct {
	Name   string
	Mutant Mutant
	Hosts  []Host
}

// Sample plans n errors for every variant of every kernel, in its own file, and n for
// every included file: always the same ones, and only those not declared equivalent.
func Sample(n int) ([]Plan, error) {
	sources, err := Sources()
	if err != nil {
		return nil, err
	}
	var plans []Plan
	for _, s := range sources {
		own := false
		for _, h := range s.Hosts {
			if h.Variant.Source+".wgsl" == s.File {
				own = true
				if s := h.Variant.Storage; s.Bindings != 0 && s.Type == shaders.F16 {
					continue // the text of BF16, except the packing, which is in a separate file
				}
				plans = append(plans, s.sample(n, h.ID(), []Host{h})...)
			}
		}
		if !own {
			plans = append(plans, s.sample(n, s.Name, s.Hosts)...)
		}
	}
	return plans, nil
}

// sample takes n errors by a hash of the name: in arithmetic, or removed statements where
// several variants share a file, since multiplications by their constants may be by 0 or
// 1.
func (s *Source) sample(n int, name string, hosts []Host) []Plan {
	var arithmetic, statements, all []Mutant
	for i, m := range s.Mutants {
		if s.Equivalent(i) {
			continue
		}
		all = append(all, m)
		switch {
		case m.Before == "+" || m.Before == "*":
			arithmetic = append(arithmetic, m)
		case m.Kind == Statement && !strings.Contains(m.Before, "Barrier"):
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
	var plans []Plan
	for i := range n {
		h := fnv.New32a()
		fmt.Fprintf(h, "%s %d", name, i)
		plans = append(plans, Plan{name, strong[int(h.Sum32())%len(strong)], hosts})
	}
	return plans
}
