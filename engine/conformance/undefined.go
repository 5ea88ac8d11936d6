package conformance

import (
	"slices"
	"strings"

	"patchwork/shaders"
)

// Undefined is a special value in an input for which a kernel's result is not specified,
// or may be non-finite in more elements than depend on it.
type Undefined struct {
	Kernel, Binding string
	Values          []string // of the specials; nil for all
	NaNMaySpread    bool     // it must propagate to the elements that depend on it, and may to others
	Reason          string
}

var notFinite = []string{"NaN", "+Inf", "-Inf"}

// Undefineds are listed below the suite's table.
var Undefineds = []Undefined{
	{Kernel: "clip_factor", Binding: "x", Values: []string{"-Inf", "-1e+30"}, Reason: "x is a sum of squares"},
	{Kernel: "adamw8", Binding: "clip", Values: notFinite, Reason: clipped},
	{Kernel: "adamw8", Binding: "g", Values: notFinite, Reason: clipped},
	{Kernel: "adamw8", Binding: "mscale", Values: notFinite, Reason: clipped},
	{Kernel: "adamw8", Binding: "vscale", Values: notFinite, Reason: clipped},
	{Kernel: "adamw8", Binding: "vscale", Values: []string{"-1e+30"}, Reason: "a scale is the largest of values that are not negative"},
	{Kernel: "attention", Binding: "k", Values: notFinite, NaNMaySpread: true, Reason: unseen},
	{Kernel: "attention", Binding: "q", Values: []string{"+Inf", "-Inf"}, Reason: "a row of scores that are all -Inf counts as one without keys"},
	{Kernel: "attention_paged", Binding: "k", Values: notFinite, NaNMaySpread: true, Reason: unseen},
	{Kernel: "attention_paged", Binding: "q", Values: []string{"+Inf", "-Inf"}, Reason: "a row of scores that are all -Inf counts as one without keys"},
	{Kernel: "attention_paged", Binding: "v", Values: notFinite, NaNMaySpread: true, Reason: unseen},
	{Kernel: "attention_quant", Binding: "q", Values: []string{"+Inf", "-Inf"}, Reason: "a row of scores that are all -Inf counts as one without keys"},
	{Kernel: "attention", Binding: "v", Values: notFinite, NaNMaySpread: true, Reason: unseen},
	{Kernel: "attention_backward", Binding: "dy", Values: notFinite, NaNMaySpread: true, Reason: unseen},
	{Kernel: "attention_backward", Binding: "q", Reason: unfit},
	{Kernel: "attention_backward", Binding: "k", Reason: unfit},
	{Kernel: "attention_backward", Binding: "v", Reason: unfit},
	{Kernel: "attention_backward", Binding: "y", Reason: unfit},
	{Kernel: "attention_backward", Binding: "lse", Reason: unfit},
}

const (
	unseen  = "a key that is not visible to a query has weight 0, and 0·NaN is NaN, within a tile"
	unfit   = "y and lse must be the forward kernel's outputs for the same q, k and v"
	clipped = "the clip factor is 0 where a gradient is not finite, and moments have no values then"
)

// undefined returns the declaration for a special value in an input.
func undefined(kernel, binding, value string) (Undefined, bool) {
	i := slices.IndexFunc(Undefineds, func(u Undefined) bool {
		return u.Kernel == kernel && u.Binding == binding && (u.Values == nil || slices.Contains(u.Values, value))
	})
	if i < 0 {
		return Undefined{}, false
	}
	return Undefineds[i], true
}

// String is a line of the table's notes.
func (u Undefined) String() string {
	values := "special values"
	if u.Values != nil {
		values = strings.Join(u.Values, ", ")
	}
	promise := "not defined"
	if u.NaNMaySpread {
		promise = "may spread"
	}
	return u.Kernel + ": " + values + " in " + u.Binding + " " + promise + ": " + u.Reason
}

// restrict limits a special case to what is defined; ok is false where nothing is.
func (u Undefined) restrict(c shaders.Case) (_ shaders.Case, ok bool) {
	c.NaNMaySpread = u.NaNMaySpread
	return c, u.NaNMaySpread
}
