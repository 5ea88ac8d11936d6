package conformance

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// special is a value that replaces an element of an input.
type special struct {
	name  string
	value float32
}

// specials are tested in every float input: a non-finite value must propagate to the
// elements that depend on it, and to no others; a large one must not overflow where the
// result does not; a denormal may be flushed to 0.
var specials = []special{
	{"NaN", float32(math.NaN())},
	{"+Inf", float32(math.Inf(1))},
	{"-Inf", float32(math.Inf(-1))},
	{"1e+30", 1e30},
	{"-1e+30", -1e30},
	{"denormal", 1e-40},
}

// smallestNormal is the smallest float32 that is not denormal.
const smallestNormal = 1.1754943508222875e-38

// squares are the kernels that square an input: 1e30 overflows in them, as in any
// implementation in 32-bit floats. They get a value whose square, times the number of
// elements, does not overflow.
var squares = []string{
	"adamw", "adamw8", "attention", "attention_backward", "attention_paged", "attention_quant", "gelu_backward", "layernorm", "layernorm_backward", "matmul", "rmsnorm", "rmsnorm_backward", "rmsnorm_linear", "rope_split_norm", "rope_split_norm_backward",
	"softmax_backward", "sum_squares", "swiglu", "swiglu_backward", "swiglu_stacked", "swiglu_stacked_backward",
}

// squarable replaces a large value by one that the kernel can square without overflow.
func (s special) squarable(k *shaders.Kernel) special {
	if a := math.Abs(float64(s.value)); a == float64(float32(1e30)) && slices.Contains(squares, k.Name) {
		sign := float32(math.Copysign(1, float64(s.value)))
		return special{fmt.Sprintf("%g", sign*1e15), sign * 1e15}
	}
	return s
}

// Cases returns the cases that a kernel declares, the same in every 16-bit storage that
// supports them, and those with special values.
func Cases(k *shaders.Kernel) []shaders.Case {
	declared := k.Cases()
	cases := declared
	for _, s := range k.Storages()[1:] {
		cases = append(cases, storedCases(k, declared, s)...)
	}
	return append(cases, specialCases(k, declared)...)
}

// storedCases are the small declared cases in another storage. A variant that cannot run
// any of them gets the smallest case that it can run.
func storedCases(k *shaders.Kernel, declared []shaders.Case, s shaders.Storage) []shaders.Case {
	const small = 1 << 14
	bySize := slices.Clone(declared)
	slices.SortStableFunc(bySize, func(a, b shaders.Case) int { return cmp.Compare(a.Elements(), b.Elements()) })
	var cases []shaders.Case
	taken := map[*shaders.Variant]bool{}
	for _, c := range bySize {
		if storesAbsent(k, c, s) {
			continue // the same as a case with fewer bindings in 16 bits
		}
		uncovered := false
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Storage == s && !taken[v] && v.Runs(c.Params) {
				uncovered, taken[v] = true, true
			}
		}
		if uncovered || c.Elements() <= small && k.Stores(c.Params, s) {
			c.Storage, c.Name = s, c.Name+", "+k.Describe(s)
			cases = append(cases, c)
		}
	}
	return cases
}

// storesAbsent reports whether a binding that the case leaves out is one of the
// storage's.
func storesAbsent(k *shaders.Kernel, c shaders.Case, s shaders.Storage) bool {
	for i, in := range c.Inputs {
		if in.Absent && s.Of(i, k.Bindings[i]).Half() {
			return true
		}
	}
	return false
}

// specialCases puts every special value into every float input of a small case.
func specialCases(k *shaders.Kernel, declared []shaders.Case) []shaders.Case {
	base, ok := specialBase(declared)
	if !ok {
		return nil
	}
	contents := kernelcheck.Fill(k, base)
	var cases []shaders.Case
	for i, in := range base.Inputs {
		b := k.Bindings[i]
		if in.Absent || in.Len() == 0 || b.Type != shaders.F32 || b.Access == shaders.Write {
			continue
		}
		if b.Access == shaders.ReadWrite && math.Float32frombits(contents[i][0]) != math.Float32frombits(contents[i][0]) {
			continue // NaN that is to be overwritten
		}
		for _, s := range specials {
			c := s.squarable(k).in(base, i, b.Name, contents[i])
			if u, found := undefined(k.Name, b.Name, s.name); found {
				if c, ok = u.restrict(c); !ok {
					continue
				}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// specialBase is the smallest declared case with enough elements for rows, columns and a
// middle.
func specialBase(declared []shaders.Case) (best shaders.Case, ok bool) {
	const enough = 100
	for _, c := range declared {
		n := c.Elements()
		if better := n >= enough && n < best.Elements() || best.Elements() < enough && n > best.Elements(); !ok || better {
			best, ok = c, true
		}
	}
	return best, ok
}

// in is a case with the special value in the middle of binding i.
func (s special) in(base shaders.Case, i int, name string, words []uint32) shaders.Case {
	c := base
	c.Inputs = slices.Clone(base.Inputs)
	values := make([]float32, len(words))
	for j, w := range words {
		values[j] = math.Float32frombits(w)
	}
	at := len(values) / 2
	values[at] = s.value
	c.Inputs[i] = shaders.Input{F: values}
	c.Name = fmt.Sprintf("%s in %s[%d] of %s", s.name, name, at, base.Name)
	c.AnyNonFinite, c.DenormalsMayFlush = true, s.name == "denormal"
	c.Atol = max(c.Atol, smallestNormal)
	return c
}
