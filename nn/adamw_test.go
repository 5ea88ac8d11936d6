package nn

import (
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// TestUpdateInChunks records the step of parameters that are larger than a device can bind
// or a kernel can count: there is one call of each kernel for each range, and when calls
// are split for the device, the norm and AdamW each read every value once, with its
// group's settings.
func TestUpdateInChunks(t *testing.T) {
	s := NewParams()
	add := func(group string, decay bool, n int) {
		s.Add(&Param{Name: group, Shape: []int{n}, Group: group, Decay: decay})
	}
	add("embedder", true, 3_000_001)
	add("embedder", false, 7)
	add("decoder", true, 50_000_000)
	add("decoder", false, 16<<20)
	add("decoder", false, maxKernelElements)
	add("frozen", true, 1<<20)
	s.Seal()
	s.Freeze("frozen")
	slots := map[string]int{"embedder": 8, "decoder": 11}
	o := AdamW{WeightDecay: 0.5}
	program, err := Record("update", Options{Params: s, Train: true}, func(g *Graph) {
		g.Keep(o.Update(g, func(group string) int { return slots[group] }))
	})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := engine.NewPlan(program, 0)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	for _, d := range plan.Dispatches {
		calls[d.Kernel.Name]++
	}
	if calls["sum_squares"] != 5 || calls["adamw"] != 5 { // the last range takes two
		t.Errorf("calls: %v, want one for each of four ranges and a second one for the last", calls)
	}
	const maxBinding = 64 << 20
	plan = plan.Within(maxBinding)
	var squared, updated int64 // bytes seen so far, in order
	trained := s.ByName("frozen").offset
	for _, d := range plan.Dispatches {
		for _, v := range d.Views {
			if v.Bytes > maxBinding {
				t.Errorf("%s binds %d bytes of %s", d.Kernel.Name, v.Bytes, v.Buffer.Label)
			}
		}
		switch p := d.Params.(type) {
		case shaders.SumParams:
			if v := d.Views[0]; v.Offset != squared || v.Bytes != 4*int64(p.N.Max) {
				t.Errorf("the norm continues at byte %d with %d bytes for %d values, want %d", v.Offset, v.Bytes, p.N.Max, squared)
			}
			squared += d.Views[0].Bytes
		case shaders.AdamWParams:
			at := owner(s, updated)
			if v := d.Views[1]; v.Offset != updated || p.Slot != uint32(slots[at.Group]) || (p.WeightDecay > 0) != at.Decay {
				t.Errorf("the step continues at byte %d with %+v, want %d with the settings of %s", v.Offset, p, updated, at.Name)
			}
			updated += d.Views[1].Bytes
		}
	}
	if squared != trained || updated != trained {
		t.Errorf("the norm read %d bytes and the step %d, want %d", squared, updated, trained)
	}
}

// owner is the parameter that a byte of the set's buffers belongs to.
func owner(s *Params, at int64) *Param {
	var last *Param
	for _, p := range s.All() {
		if p.offset <= at {
			last = p
		}
	}
	return last
}
