package engine_test

import (
	"errors"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
	"patchwork/shaders"
)

// touch is a byte range that a dispatch reads or writes.
type touch struct {
	memory any // a persistent buffer, or a segment's number
	lo, hi int64
	write  bool
}

func (a touch) conflicts(b touch) bool {
	return a.memory == b.memory && a.lo < b.hi && b.lo < a.hi && (a.write || b.write)
}

func touches(d engine.Dispatch) []touch {
	var all []touch
	for i, v := range d.Views {
		t := touch{lo: v.Offset, hi: v.Offset + v.Bytes, write: d.Kernel.Bindings[i].Access != shaders.Read}
		if r := engine.Resolve(v); r.Temp {
			t.memory, t.lo, t.hi = r.Segment, r.Offset, r.Offset+r.Bytes
		} else {
			t.memory = v.Buffer
		}
		all = append(all, t)
	}
	return all
}

// TestPlan checks plans of random programs the slow way, in one segment and in several:
// buffers that are alive together do not overlap, conflicting dispatches have a barrier
// between them, and there is no barrier without a conflict.
func TestPlan(t *testing.T) {
	for seed := range uint64(50) {
		r := enginetest.Random(seed, 150)
		var one int64
		for _, limit := range []int64{0, 1 << 30, 5000, 3100, 2048} {
			plan, err := engine.NewPlan(r.Program, limit)
			if err != nil {
				t.Fatal(err)
			}
			if limit == 0 {
				one = plan.Arena.Total()
			}
			checkSegments(t, seed, plan.Arena, limit, one)
			checkLiveness(t, seed, plan, r)
			checkBarriers(t, seed, plan)
			if t.Failed() {
				return
			}
		}
	}
}

// checkSegments checks the sizes of an arena's segments; one is the size of the arena
// without a limit. The buffers have up to 2048 bytes, so few fit into the smallest
// segments together.
func checkSegments(t *testing.T, seed uint64, arena engine.Segments, limit, one int64) {
	for i, bytes := range arena {
		if limit > 0 && bytes > limit {
			t.Errorf("program %d: segment %d has %d bytes, want at most %d", seed, i, bytes, limit)
		}
	}
	if total := arena.Total(); (limit == 0 || one <= limit) && (len(arena) != 1 || total != one) || float64(total) > 1.15*float64(one) {
		t.Errorf("program %d: an arena of %d with segments of at most %d, %d without a limit", seed, arena, limit, one)
	}
}

// TestPlanTooLarge: a buffer larger than a segment is reported by name.
func TestPlanTooLarge(t *testing.T) {
	p := engine.NewProgram("large")
	y := p.Temp("hidden states", 5000)
	p.Keep(y)
	p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(1)}, y.View(), y.View(), y.View())
	_, err := engine.NewPlan(p, 4999)
	var oom *engine.OutOfMemoryError
	if !errors.As(err, &oom) || oom.Asked != 5000 || !strings.Contains(oom.What, "hidden states") {
		t.Errorf("got %v, want an out-of-memory error that names the buffer", err)
	}
}

// life is the range of dispatches in which a temporary buffer is live, and its bytes in a
// segment.
type life struct {
	buffer      *engine.Buffer
	first, last int
	segment     int
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
				at := engine.Resolve(v.Buffer.View())
				l = &life{v.Buffer, i, i, at.Segment, at.Offset, at.Offset + v.Buffer.Bytes}
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
		if a.lo < 0 || a.hi > plan.Arena[a.segment] || a.lo%engine.Alignment != 0 {
			t.Errorf("program %d: %s at [%d,%d) of segment %d of an arena of %d", seed, a.buffer.Label, a.lo, a.hi, a.segment, plan.Arena)
		}
		for _, b := range lives {
			if a != b && a.segment == b.segment && a.first <= b.last && b.first <= a.last && a.lo < b.hi && b.lo < a.hi {
				t.Errorf("program %d: %+v and %+v overlap", seed, *a, *b)
			}
		}
	}
	if plan.Arena.Total() >= total {
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

// TestDeadDispatches checks that a dispatch whose output is never read is eliminated, as
// are those that only dead dispatches read, and that all others stay.
func TestDeadDispatches(t *testing.T) {
	p, x := engine.NewProgram("dead dispatches"), engine.NewBuffer("x", 4)
	add := func(label string, a, b, y *engine.Buffer) *engine.Buffer {
		p.SetLabel(label)
		p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(1)}, a.View(), b.View(), y.View())
		return y
	}
	used := add("used", x, x, p.Temp("used", 4))
	input := add("input of a dead dispatch", x, x, p.Temp("input", 4))
	add("dead", input, used, p.Temp("dead", 4))
	kept := p.Temp("kept", 4)
	p.Keep(add("kept", used, x, kept))
	add("persistent", x, x, engine.NewBuffer("y", 4))
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range plan.Dispatches {
		got = append(got, d.Label)
	}
	if want := "used, kept, persistent"; strings.Join(got, ", ") != want {
		t.Errorf("the plan has %q, want %q", got, want)
	}
}

// TestRecordingErrors checks that the first mistake of a recording is kept.
func TestRecordingErrors(t *testing.T) {
	x := engine.NewBuffer("x", 1024)
	params := shaders.SwiGLUParams{N: shaders.N(1)}
	for name, record := range map[string]func(p *engine.Program){
		"wrong parameters": func(p *engine.Program) { p.Dispatch(shaders.SwiGLU, 1, x.View(), x.View(), x.View()) },
		"too few views":    func(p *engine.Program) { p.Dispatch(shaders.SwiGLU, params, x.View()) },
		"absent view":      func(p *engine.Program) { p.Dispatch(shaders.SwiGLU, params, x.View(), engine.View{}, x.View()) },
		"unaligned view": func(p *engine.Program) {
			p.Dispatch(shaders.SwiGLU, params, x.View(), x.View().Slice(4, 4), x.View())
		},
	} {
		p := engine.NewProgram(name)
		record(p)
		if _, err := engine.NewPlan(p, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
