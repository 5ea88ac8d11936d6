package nn

import (
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// TestUpdateInPieces records the step of parameters larger than a device binds or a
// kernel counts: there is one call of each kernel for a range, and cut for the device,
// every value is seen once by the norm and once by AdamW, with its group's numbers.
func TestUpdateInPieces(t *testing.T) {
	s := NewParams()
	add := func(group string, decay bool, n int) {
		s.Add(&Param{Name: group, Shape: []int{n}, Group: group, Decay: decay})
	}
	add("eyes", true, 3_000_001)
	add("eyes", false, 7)
	add("words", true, 50_000_000)
	add("words", false, 16<<20)
	add("words", false, mostElements)
	add("frozen", true, 1<<20)
	s.Seal()
	s.Freeze("frozen")
	slots := map[string]int{"eyes": 8, "words": 11}
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
		t.Errorf("there are calls of %v, want one for each of four ranges and one more", calls)
	}
	const most = 64 << 20
	plan = plan.Within(most)
	var squared, updated int64 // bytes seen so far, in order
	trained := s.ByName("frozen").offset
	for _, d := range plan.Dispatches {
		for _, v := range d.Views {
			if v.Bytes > most {
				t.Errorf("%s binds %d bytes of %s", d.Kernel.Name, v.Bytes, v.Buffer.Label)
			}
		}
		switch p := d.Params.(type) {
		case shaders.SumParams:
			if v := d.Views[0]; v.Offset != squared || v.Bytes != 4*int64(p.N.Max) {
				t.Errorf("the norm goes on at byte %d with %d bytes for %d values, want %d", v.Offset, v.Bytes, p.N.Max, squared)
			}
			squared += d.Views[0].Bytes
		case shaders.AdamWParams:
			at := owner(s, updated)
			if v := d.Views[1]; v.Offset != updated || p.Slot != uint32(slots[at.Group]) || (p.WeightDecay > 0) != at.Decay {
				t.Errorf("the step goes on at byte %d with %+v, want %d with the numbers of %s", v.Offset, p, updated, at.Name)
			}
			updated += d.Views[1].Bytes
		}
	}
	if squared != trained || updated != trained {
		t.Errorf("the norm saw %d bytes and the step %d, want %d", squared, updated, trained)
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
