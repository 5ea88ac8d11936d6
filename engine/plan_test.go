package engine_test

import (
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
	"patchwork/shaders"
)

// touch is a byte range of one place in memory that a dispatch reads or writes.
type touch struct {
	place  any // a persistent buffer, or nil for the arena
	lo, hi int64
	write  bool
}

func (a touch) conflicts(b touch) bool {
	return a.place == b.place && a.lo < b.hi && b.lo < a.hi && (a.write || b.write)
}

func touches(d engine.Dispatch) []touch {
	var all []touch
	for i, v := range d.Views {
		t := touch{lo: v.Offset, hi: v.Offset + v.Bytes, write: d.Kernel.Bindings[i].Access != shaders.Read}
		if r := engine.Resolve(v); r.Temp {
			t.lo, t.hi = r.Offset, r.Offset+r.Bytes
		} else {
			t.place = v.Buffer
		}
		all = append(all, t)
	}
	return all
}

// TestPlan checks plans of random programs the slow way: buffers that are alive
// together do not overlap, conflicting dispatches have a barrier between them,
// and no barrier stands without a conflict.
func TestPlan(t *testing.T) {
	for seed := range uint64(50) {
		r := enginetest.Random(seed, 150)
		plan, err := engine.NewPlan(r.Program)
		if err != nil {
			t.Fatal(err)
		}
		checkLiveness(t, seed, plan, r)
		checkBarriers(t, seed, plan)
		if t.Failed() {
			return
		}
	}
}

// life is from where to where in the program a temporary buffer holds something.
type life struct {
	buffer      *engine.Buffer
	first, last int
	lo, hi      int64
}

func checkLiveness(t *testing.T, seed uint64, plan *engine.Plan, r *enginetest.Recording) {
	lives := map[*engine.Buffer]*life{}
	for i, d := range plan.Dispatches {
		for _, v := range d.Views {
			if !v.Buffer.Temporary() {
				continue
			}
			l := lives[v.Buffer]
			if l == nil {
				lo := engine.Resolve(v.Buffer.View()).Offset
				l = &life{v.Buffer, i, i, lo, lo + v.Buffer.Bytes}
				lives[v.Buffer] = l
			}
			l.last = i
		}
	}
	for _, b := range r.Kept {
		lives[b].last = len(plan.Dispatches)
	}
	var total int64
	for _, a := range lives {
		total += a.hi - a.lo
		if a.lo < 0 || a.hi > plan.Arena || a.lo%engine.Alignment != 0 {
			t.Errorf("program %d: %s at [%d,%d) of an arena of %d", seed, a.buffer.Label, a.lo, a.hi, plan.Arena)
		}
		for _, b := range lives {
			if a != b && a.first <= b.last && b.first <= a.last && a.lo < b.hi && b.lo < a.hi {
				t.Errorf("program %d: %+v and %+v overlap", seed, *a, *b)
			}
		}
	}
	if plan.Arena >= total {
		t.Errorf("program %d: the arena has %d bytes for buffers of %d: nothing is shared", seed, plan.Arena, total)
	}
}

func checkBarriers(t *testing.T, seed uint64, plan *engine.Plan) {
	since := 0 // the dispatch after the last barrier
	for i, d := range plan.Dispatches {
		conflict := false
		for j := since; j < i; j++ {
			conflict = conflict || conflicts(touches(plan.Dispatches[j]), touches(d))
		}
		if conflict != plan.Barrier[i] {
			t.Errorf("program %d, dispatch %d: barrier %v, conflict since dispatch %d %v", seed, i, plan.Barrier[i], since, conflict)
		}
		if plan.Barrier[i] {
			since = i
		}
	}
}

func conflicts(a, b []touch) bool {
	for _, x := range a {
		for _, y := range b {
			if x.conflicts(y) {
				return true
			}
		}
	}
	return false
}

// TestPlanLeavesOut checks that a call goes when nothing reads what it writes,
// with the calls that only served it, and that no other does.
func TestPlanLeavesOut(t *testing.T) {
	p, x := engine.NewProgram("dead ends"), engine.NewBuffer("x", 4)
	add := func(label string, a, b, y *engine.Buffer) *engine.Buffer {
		p.SetLabel(label)
		p.Dispatch(shaders.Add, shaders.AddParams{N: shaders.N(1)}, a.View(), b.View(), y.View())
		return y
	}
	used := add("used", x, x, p.Temp("used", 4))
	served := add("served a dead end", x, x, p.Temp("served", 4))
	add("dead end", served, used, p.Temp("dead end", 4))
	kept := p.Temp("kept", 4)
	p.Keep(add("kept", used, x, kept))
	add("lasting", x, x, engine.NewBuffer("y", 4))
	plan, err := engine.NewPlan(p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range plan.Dispatches {
		got = append(got, d.Label)
	}
	if want := "used, kept, lasting"; strings.Join(got, ", ") != want {
		t.Errorf("the plan has %q, want %q", got, want)
	}
}

// TestRecordingErrors checks that the first mistake of a recording is kept.
func TestRecordingErrors(t *testing.T) {
	x := engine.NewBuffer("x", 1024)
	params := shaders.AddParams{N: shaders.N(1)}
	for name, record := range map[string]func(p *engine.Program){
		"wrong parameters": func(p *engine.Program) { p.Dispatch(shaders.Add, 1, x.View(), x.View(), x.View()) },
		"too few views":    func(p *engine.Program) { p.Dispatch(shaders.Add, params, x.View()) },
		"absent view":      func(p *engine.Program) { p.Dispatch(shaders.Add, params, x.View(), engine.View{}, x.View()) },
		"unaligned view": func(p *engine.Program) {
			p.Dispatch(shaders.Add, params, x.View(), x.View().Slice(4, 4), x.View())
		},
	} {
		p := engine.NewProgram(name)
		record(p)
		if _, err := engine.NewPlan(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
