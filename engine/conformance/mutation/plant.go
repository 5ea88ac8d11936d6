package mutation

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"patchwork/shaders"
)

// Host is a variant of a kernel that a file is part of.
type Host struct {
	Kernel  *shaders.Kernel
	Variant *shaders.Variant
}

// ID is the variant's: "matmul.tall".
func (h Host) ID() string { return h.Kernel.ID(h.Variant) }

// Source is a file with the variants that it is part of and its mutants.
type Source struct {
	File    string
	Hosts   []Host
	Mutants []Mutant
}

// spread keeps the variant of every kernel that has the smallest constants, which
// is compiled soonest, and then the n with the largest: in the others, a loop over a
// constant may be no loop.
func spread(hosts []Host, n int) []Host {
	size := func(h Host) uint32 {
		product := uint32(1)
		for _, c := range h.Variant.Consts {
			product *= max(c, 1)
		}
		return product
	}
	sorted := slices.Clone(hosts)
	slices.SortStableFunc(sorted, func(a, b Host) int { return cmp.Compare(size(a), size(b)) })
	variants, seen := map[string]int{}, map[string]int{}
	for _, h := range sorted {
		variants[h.Kernel.Name]++
	}
	return slices.DeleteFunc(sorted, func(h Host) bool {
		seen[h.Kernel.Name]++
		at := seen[h.Kernel.Name]
		return at > 1 && at <= variants[h.Kernel.Name]-n
	})
}

// mostVariants is how many variants of a kernel try an error in a file that they
// share.
const mostVariants = 3

// Thorough returns the hosts that together try every line of the file.
func (s *Source) Thorough() []Host { return spread(s.Hosts, mostVariants) }

// Sources returns every WGSL file of every kernel, by name: errors are planted where a
// device compiles WGSL at run time.
func Sources() ([]Source, error) {
	hosts := map[string][]Host{}
	for _, k := range shaders.All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Cooperative != nil {
				continue
			}
			for _, file := range v.Files() {
				hosts[file] = append(hosts[file], Host{k, v})
			}
		}
	}
	var sources []Source
	for _, file := range slices.Sorted(maps.Keys(hosts)) {
		text, err := shaders.SourceFile(file)
		if err != nil {
			return nil, err
		}
		names, err := namesOf(hosts[file])
		if err != nil {
			return nil, err
		}
		sources = append(sources, Source{file, hosts[file], Of(file, text, names)})
	}
	return sources, nil
}

var param = regexp.MustCompile(`(\w+): (u32|f32),`)

// namesOf returns what the declarations of the hosts' kernels offer.
func namesOf(hosts []Host) (Names, error) {
	names := Names{map[string]string{}, map[string]string{}}
	for _, h := range hosts {
		text, err := h.Kernel.WGSL(h.Variant)
		if err != nil {
			return names, err
		}
		_, block, _ := strings.Cut(text, "struct Params {")
		block, _, _ = strings.Cut(block, "}")
		for _, m := range param.FindAllStringSubmatch(block, -1) {
			names.Params[m[1]] = m[2]
		}
		addLoads(names.Loads, h.Kernel.Bindings)
	}
	return names, nil
}

// addLoads pairs each binding that can be read with the next of its type.
func addLoads(loads map[string]string, bindings []shaders.Binding) {
	byType := map[shaders.Type][]string{}
	for _, b := range bindings {
		if b.Access != shaders.Write && b.Name != "scratch" {
			byType[b.Type] = append(byType[b.Type], b.Name)
		}
	}
	for _, all := range byType {
		for i, name := range all {
			if other := all[(i+1)%len(all)]; other != name {
				loads["load_"+name], loads["load4_"+name] = "load_"+other, "load4_"+other
			}
		}
	}
}

// Plant returns the host's kernel with the error in it.
func (h Host) Plant(m Mutant) (*shaders.Kernel, error) {
	text, err := h.Kernel.WGSL(h.Variant)
	if err != nil {
		return nil, err
	}
	file, err := shaders.SourceFile(m.File)
	if err != nil {
		return nil, err
	}
	at := strings.Index(text, h.Variant.Literal(file))
	if at < 0 {
		return nil, fmt.Errorf("%s is not a part of %s", m.File, h.ID())
	}
	whole := text[:at] + h.Variant.Literal(m.Apply(file)) + text[at+len(h.Variant.Literal(file)):]
	return h.Kernel.WithText(h.Variant, whole), nil
}
