package shaders

import (
	"fmt"
	"slices"
	"strings"
)

// Storage is the set of bindings of a call with floats of 16 bits, two to a word, and
// their type. The zero Storage is a call of 32-bit floats. Arithmetic is always in 32
// bits; stores round to the nearest, ties to even.
type Storage struct {
	Type     Type   // BF16 or F16
	Bindings uint32 // bit i: binding i
}

// Halves is the storage with the bindings of the given names in 16 bits.
func (k *Kernel) Halves(t Type, names ...string) Storage {
	s := Storage{Type: t}
	for _, name := range names {
		i := slices.IndexFunc(k.Bindings, func(b Binding) bool { return b.Name == name })
		if i < 0 {
			panic(fmt.Sprintf("shaders: kernel %s has no binding %q", k.Name, name))
		}
		s.Bindings |= 1 << i
	}
	return s
}

// Of is the type of binding i, which is declared as b.
func (s Storage) Of(i int, b Binding) Type {
	if s.Bindings>>i&1 != 0 {
		return s.Type
	}
	return b.Type
}

// With adds a binding. Two types of 16 bits in one call are an error.
func (s Storage) With(i int, t Type) (Storage, error) {
	if s.Bindings != 0 && s.Type != t {
		return s, fmt.Errorf("%v and %v in one call", s.Type, t)
	}
	return Storage{t, s.Bindings | 1<<i}, nil
}

// suffix names the storage in a variant: "bf16-gate-up-y".
func (s Storage) suffix(bindings []Binding) string {
	name := s.Type.String()
	for i, b := range bindings {
		if s.Bindings>>i&1 != 0 {
			name += "-" + b.Name
		}
	}
	return name
}

// Describe names the storage for people: "f32", "bf16 in gate, up and y".
func (k *Kernel) Describe(s Storage) string {
	var names []string
	for i, b := range k.Bindings {
		if s.Bindings>>i&1 != 0 {
			names = append(names, b.Name)
		}
	}
	if len(names) == 0 {
		return "f32"
	}
	return fmt.Sprintf("%v in %s", s.Type, strings.Join(names, ", "))
}

// Storages are the storages that the kernel's calls can have, plain f32 first.
func (k *Kernel) Storages() []Storage {
	all := []Storage{{}}
	for i := range k.Variants {
		if s := k.Variants[i].Storage; !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// Stores reports whether the kernel supports these parameters with this storage.
func (k *Kernel) Stores(params any, s Storage) bool {
	if s.Bindings == 0 {
		return true
	}
	return slices.ContainsFunc(k.Variants, func(v Variant) bool { return v.Storage == s && v.Runs(params) })
}

// halved returns a variant with 16-bit storage, for each declared set of bindings and
// each type.
func halved(k *Kernel, v Variant, sets [][]string) []Variant {
	var all []Variant
	for _, set := range sets {
		for _, t := range []Type{BF16, F16} {
			h := v
			h.Storage = k.Halves(t, set...)
			h.Name = strings.TrimPrefix(v.Name+"."+h.Storage.suffix(k.Bindings), ".")
			all = append(all, h)
		}
	}
	return all
}
