package shaders

import "testing"

// TestInputs: a call with the declared contents runs through the reference, which
// indexes with them, for every kernel at the sizes of its own cases.
func TestInputs(t *testing.T) {
	for _, k := range All() {
		for _, c := range k.Cases() {
			n := make([]int, len(c.Inputs))
			large := false
			for i, in := range c.Inputs {
				if !in.Absent {
					n[i] = max(in.N, len(in.F), len(in.I), len(in.U))
				}
				large = large || n[i] > 1<<15
			}
			if large {
				continue
			}
			inputs := k.Inputs(c.Params, withWord(c.Step, 0, 0), n)
			arrays := make([]Array, len(n))
			for i, in := range inputs {
				if got := max(in.N, len(in.F), len(in.I), len(in.U)); got != n[i] {
					t.Fatalf("%s %s: binding %s has %d elements, want %d", k.Name, c.Name, k.Bindings[i].Name, got, n[i])
				}
				if k.Bindings[i].Type == F32 {
					arrays[i].F = make([]float64, n[i])
					continue
				}
				for _, v := range in.I {
					arrays[i].I = append(arrays[i].I, int64(v))
				}
				for _, v := range in.U {
					arrays[i].I = append(arrays[i].I, int64(v))
				}
			}
			k.Reference(c.Params, withWord(c.Step, 0, 0), arrays)
		}
	}
}
