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

// Host is a variant of a kernel that contains a file.
type Host struct {
	Kernel  *shaders.Kernel
	Variant *shaders.Variant
}

// ID is the variant's: "matmul.tall".
func (h Host) ID() string { return h.Kernel.ID(h.Variant) }

// Source is a file with the variants that contain it and its mutants.
type Source struct {
	Name    string // the file's, and that of its part
	File    string
	Hosts   []Host
	Mutants []Mutant
	Keys    []string // of the mutants
}

// Equivalent reports whether mutant i is declared equivalent.
func (s *Source) Equivalent(i int) bool { return equivalents[s.Keys[i]] != "" }

// spread keeps of every kernel the variant with the smallest module, which compiles
// fastest, and then n others: those with the largest constants, in which no loop over a
// constant is empty, and with the largest modules, which do most; not two that differ
// only in the type of their storage.
func spread(hosts []Host, n int) []Host {
	byKernel := map[string][]Host{}
	for _, h := range hosts {
		byKernel[h.Kernel.Name] = append(byKernel[h.Kernel.Name], h)
	}
	var kept []Host
	for _, all := range byKernel {
		slices.SortStableFunc(all, func(a, b Host) int { return cmp.Compare(a.size(), b.size()) })
		kept = append(kept, all[0])
		rest := slices.Clone(all[1:])
		slices.SortStableFunc(rest, func(a, b Host) int {
			return cmp.Or(cmp.Compare(b.constants(), a.constants()), cmp.Compare(b.size(), a.size()))
		})
		kept = append(kept, differing(rest, n)...)
	}
	slices.SortFunc(kept, func(a, b Host) int {
		return cmp.Or(cmp.Compare(a.size(), b.size()), cmp.Compare(a.ID(), b.ID()))
	})
	return kept
}

// differing are the first n hosts that differ in constants or in 16-bit storage.
func differing(hosts []Host, n int) []Host {
	type kind struct {
		constants uint32
		half      bool
	}
	seen := map[kind]bool{}
	var kept []Host
	for _, h := range hosts {
		k := kind{h.constants(), h.Variant.Storage.Bindings != 0}
		if len(kept) < n && !seen[k] {
			seen[k] = true
			kept = append(kept, h)
		}
	}
	return kept
}

// size is the size of the committed module in bytes, 0 if it is missing.
func (h Host) size() int {
	module, err := h.Kernel.SPIRV(h.Variant)
	if err != nil {
		return 0
	}
	return len(module)
}

func (h Host) constants() uint32 {
	product := uint32(1)
	for _, c := range h.Variant.Consts {
		product *= max(c, 1)
	}
	return product
}

// Thorough returns hosts that together execute every line of the file, the small ones
// first: some variants of each kernel where few kernels share the file, else two of each
// of the smallest, more with fewer mutants.
func (s *Source) Thorough() []Host {
	const fewKernels, mostVariants, leastHosts, mostTries = 4, 3, 16, 600
	kernels := map[string]bool{}
	for _, h := range s.Hosts {
		kernels[h.Kernel.Name] = true
	}
	if len(kernels) <= fewKernels {
		return spread(s.Hosts, mostVariants)
	}
	hosts := spread(s.Hosts, 1)
	return hosts[:min(max(leastHosts, mostTries/max(len(s.Mutants), 1)), len(hosts))]
}

// Subgroup reports whether the variant uses subgroup shuffles, which WebGPU's library
// cannot compile.
func (h Host) Subgroup() bool {
	needs, err := h.Kernel.Requirements(h.Variant)
	return err == nil && needs.Subgroup
}

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
		mutants := Of(file, text, names)
		sources = append(sources, Source{file, file, hosts[file], mutants, keysOf(text, mutants)})
	}
	parts, err := partSources()
	return append(sources, parts...), err
}

// partSources are the parts of shaders.BindingsFile, each with the variants that call its
// functions.
func partSources() ([]Source, error) {
	file, err := shaders.SourceFile(shaders.BindingsFile)
	if err != nil {
		return nil, err
	}
	mutants := Of(shaders.BindingsFile, file, Names{})
	keys := keysOf(file, mutants)
	var sources []Source
	for _, part := range shaders.Parts() {
		s := Source{Name: shaders.BindingsFile + ", " + part.Name, File: shaders.BindingsFile}
		for i, m := range mutants {
			if part.Start <= m.Start && m.End <= part.End {
				s.Mutants, s.Keys = append(s.Mutants, m), append(s.Keys, keys[i])
			}
		}
		for _, k := range shaders.All() {
			for i := range k.Variants {
				h := Host{k, &k.Variants[i]}
				text, err := k.WGSL(h.Variant)
				if err != nil {
					return nil, err
				}
				if slices.ContainsFunc(k.Bindings, func(b shaders.Binding) bool { return calls(text, part.For(b)) }) {
					s.Hosts = append(s.Hosts, h)
				}
			}
		}
		if len(s.Mutants) > 0 {
			sources = append(sources, s)
		}
	}
	return sources, nil
}

var declared = regexp.MustCompile(`fn (\w+)\(`)

// calls reports whether a text has these functions and calls each.
func calls(text, functions string) bool {
	if !strings.Contains(text, functions) {
		return false
	}
	for _, m := range declared.FindAllStringSubmatch(functions, -1) {
		if strings.Count(text, m[1]+"(") < 2 {
			return false
		}
	}
	return true
}

var param = regexp.MustCompile(`(\w+): (u32|f32),`)

// namesOf returns the names declared by the hosts' kernels.
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

// addLoads pairs each readable binding with the next of its type.
func addLoads(loads map[string]string, bindings []shaders.Binding) {
	byType := map[shaders.Type][]string{}
	for _, b := range bindings {
		if b.Access != shaders.Write && !b.Scratch {
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

// Plant returns the text of the host's shader with the error in it.
func (h Host) Plant(m Mutant) (string, error) {
	text, err := h.Kernel.WGSL(h.Variant)
	if err != nil {
		return "", err
	}
	file, err := shaders.SourceFile(m.File)
	if err != nil {
		return "", err
	}
	if m.File == shaders.BindingsFile {
		return plantPart(text, file, m, h.Kernel.Bindings), nil
	}
	at := strings.Index(text, h.Variant.Literal(file))
	if at < 0 {
		return "", fmt.Errorf("%s is not a part of %s", m.File, h.ID())
	}
	return text[:at] + h.Variant.Literal(m.Apply(file)) + text[at+len(h.Variant.Literal(file)):], nil
}

// plantPart puts the error into the part's text for every binding.
func plantPart(text, file string, m Mutant, bindings []shaders.Binding) string {
	for _, part := range shaders.Parts() {
		if m.Start < part.Start || m.End > part.End {
			continue
		}
		wrong := part
		wrong.Text = m.Apply(file)[part.Start : part.End+len(m.After)-len(m.Before)]
		for _, b := range bindings {
			text = strings.Replace(text, part.For(b), wrong.For(b), 1)
		}
	}
	return text
}
