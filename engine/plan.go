package engine

import (
	"context"
	"fmt"
	"slices"

	"patchwork/shaders"
)

// Plan is a recorded program with arena offsets for its temporary buffers and barriers
// between dependent dispatches.
type Plan struct {
	Program    *Program
	Dispatches []Dispatch
	Arena      Segments // temporary memory
	// Barrier[i] is true when dispatch i depends on an earlier one (a hazard of read
	// after write, write after read or write after write): it waits for all before it.
	Barrier []bool

	origin []int // index of the dispatch before Within; nil: unchanged
}

// NewPlan eliminates dead dispatches, assigns the temporary buffers offsets by their
// lifetimes and finds the barriers. It needs no device; the arena's size is what a run
// will use. No segment of the arena has more than limit bytes, the MaxBufferBytes of a
// device; 0 is no limit, and one segment. The error is an *OutOfMemoryError when a single
// buffer is larger.
func NewPlan(p *Program, limit int64) (*Plan, error) {
	if p.err != nil {
		return nil, p.err
	}
	plan := &Plan{Program: p, Dispatches: eliminateDead(p.Dispatches)}
	var err error
	if plan.Arena, err = assignOffsets(lifetimes(plan.Dispatches), limit); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	plan.Barrier = barriers(plan.Dispatches)
	return plan, nil
}

// eliminateDead removes the dispatches that only write temporaries which no later
// dispatch reads. For example, the last matmul of a layer that is recomputed for its
// gradients is dead.
func eliminateDead(dispatches []Dispatch) []Dispatch {
	read := map[*Buffer]bool{} // by a later live dispatch
	live := make([]Dispatch, 0, len(dispatches))
	for _, d := range slices.Backward(dispatches) {
		if !hasLiveOutput(d, read) {
			continue
		}
		for i, v := range d.Views {
			if v.Buffer != nil && d.Kernel.Bindings[i].Access != shaders.Write {
				read[v.Buffer] = true
			}
		}
		live = append(live, d)
	}
	slices.Reverse(live)
	return live
}

// hasLiveOutput reports whether a dispatch writes a buffer that is read later or outlives
// the program.
func hasLiveOutput(d Dispatch, read map[*Buffer]bool) bool {
	for i, v := range d.Views {
		if v.Buffer == nil || d.Kernel.Bindings[i].Access == shaders.Read {
			continue
		}
		if !v.Buffer.temp || v.Buffer.keep || read[v.Buffer] {
			return true
		}
	}
	return false
}

// lifetime of a temporary buffer, in dispatch numbers.
type lifetime struct {
	buffer      *Buffer
	first, last int
}

func lifetimes(dispatches []Dispatch) []lifetime {
	index := map[*Buffer]int{}
	var lives []lifetime
	for i, d := range dispatches {
		for _, v := range d.Views {
			if v.Buffer == nil || !v.Buffer.temp {
				continue
			}
			at, seen := index[v.Buffer]
			if !seen {
				at = len(lives)
				index[v.Buffer] = at
				lives = append(lives, lifetime{v.Buffer, i, i})
			}
			lives[at].last = i
		}
	}
	for i := range lives {
		if lives[i].buffer.keep {
			lives[i].last = len(dispatches)
		}
	}
	return lives
}

// span is a byte range of a persistent buffer or, where that is nil, of a segment of the
// arena.
type span struct {
	buffer  *Buffer
	segment int
	lo, hi  int64
}

func (s span) overlaps(o span) bool {
	return s.buffer == o.buffer && s.segment == o.segment && s.lo < o.hi && o.lo < s.hi
}

func spanOf(v View) span {
	if v.Buffer.temp {
		return span{nil, v.Buffer.segment, v.Buffer.offset + v.Offset, v.Buffer.offset + v.Offset + v.Bytes}
	}
	return span{v.Buffer, 0, v.Offset, v.Offset + v.Bytes}
}

// barriers finds the dispatches that access what a dispatch since the last barrier wrote,
// or write what one read.
func barriers(dispatches []Dispatch) []bool {
	need := make([]bool, len(dispatches))
	var reads, writes []span
	for i, d := range dispatches {
		var r, w []span
		for j, v := range d.Views {
			if v.Buffer == nil {
				continue
			}
			switch d.Kernel.Bindings[j].Access {
			case shaders.Read:
				r = append(r, spanOf(v))
			default:
				w = append(w, spanOf(v))
			}
		}
		if anyOverlap(r, writes) || anyOverlap(w, writes) || anyOverlap(w, reads) {
			need[i] = true
			reads, writes = reads[:0], writes[:0]
		}
		reads, writes = append(reads, r...), append(writes, w...)
	}
	return need
}

func anyOverlap(a, b []span) bool {
	for _, x := range a {
		for _, y := range b {
			if x.overlaps(y) {
				return true
			}
		}
	}
	return false
}

// ResolvedView is the memory range of a view. With Temp, Offset is in a segment of the
// plan's arena, otherwise in Memory. An absent view has Bytes 0.
type ResolvedView struct {
	Temp    bool
	Segment int
	Memory  Memory
	Offset  int64
	Bytes   int64
}

// Resolve locates a view for a backend that compiles the plan.
func Resolve(v View) ResolvedView {
	if v.Buffer == nil {
		return ResolvedView{}
	}
	if v.Buffer.temp {
		return ResolvedView{Temp: true, Segment: v.Buffer.segment, Offset: v.Buffer.offset + v.Offset, Bytes: v.Bytes}
	}
	p := v.Buffer.allocationAt(v.Offset)
	return ResolvedView{Memory: p.memory, Offset: p.offset + v.Offset - p.start, Bytes: v.Bytes}
}

// Unplaced returns the first persistent buffer of the plan that has no memory.
func (p *Plan) Unplaced() *Buffer {
	for _, d := range p.Dispatches {
		for _, v := range d.Views {
			if v.Buffer != nil && !v.Buffer.temp && v.Buffer.allocations == nil {
				return v.Buffer
			}
		}
	}
	return nil
}

// CheckArena returns an error when memories are too few or too small for the plan's
// segments.
func (p *Plan) CheckArena(arena []Memory) error {
	for i, bytes := range p.Arena {
		if i >= len(arena) {
			return fmt.Errorf("the temporaries need memory in %d segments, but %d are given", len(p.Arena), len(arena))
		}
		if size := arena[i].Size(); size < bytes {
			return fmt.Errorf("segment %d of the temporaries needs %s, but the given memory has %s", i, Bytes(bytes), Bytes(size))
		}
	}
	return nil
}

// LastWrites returns, for every range of a persistent buffer, the index after the last dispatch
// that writes to it; 0 if none does.
func (p *Plan) LastWrites(ranges []View) []int {
	ends := make([]int, len(ranges))
	for i, d := range p.Dispatches {
		for j, v := range d.Views {
			if v.Buffer == nil || v.Buffer.temp || d.Kernel.Bindings[j].Access == shaders.Read {
				continue
			}
			for k, r := range ranges {
				if spanOf(r).overlaps(spanOf(v)) {
					ends[k] = i + 1
				}
			}
		}
	}
	return ends
}

// Cut divides a plan into programs that are run one after another with the same arena: the
// dispatches up to each of the ends, which are in ascending order, and the rest.
func (p *Plan) Cut(ends []int) []*Plan {
	var parts []*Plan
	first := 0
	for _, end := range append(slices.Clone(ends), len(p.Dispatches)) {
		parts = append(parts, &Plan{Program: p.Program, Dispatches: p.Dispatches[first:end], Arena: p.Arena, Barrier: p.Barrier[first:end]})
		first = end
	}
	return parts
}

// RunOnce plans, compiles and runs a program whose steps do not change.
func RunOnce(ctx context.Context, dev Device, p *Program) error {
	plan, err := NewPlan(p, dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		return err
	}
	exe, err := dev.Compile(plan, nil)
	if err != nil {
		return err
	}
	defer exe.Free()
	return exe.Run(ctx, &[shaders.StepWords]uint32{})
}
