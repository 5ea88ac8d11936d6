package engine

import (
	"errors"
	"slices"
)

// SplitAt allows a persistent buffer to be allocated in several memories, divided at byte
// offsets in ascending order. A kernel's binding must not cross one of them. Call it
// before the buffer is recorded or allocated.
func (b *Buffer) SplitAt(at []int64) { b.splits = at }

// Contiguous reports whether a range of the buffer crosses no split, so that a kernel can
// bind it.
func (b *Buffer) Contiguous(offset, bytes int64) bool {
	return !slices.ContainsFunc(b.splits, func(at int64) bool { return at > offset && at < offset+bytes })
}

// allocation is the part of a persistent buffer between two splits.
type allocation struct {
	start, bytes int64  // in the buffer
	memory       Memory // nil until placed
	offset       int64  // in the memory
}

// splitUp returns the buffer's allocations, without memory.
func (b *Buffer) splitUp() []allocation {
	allocations := []allocation{{bytes: b.Bytes}}
	for _, at := range b.splits {
		if last := &allocations[len(allocations)-1]; at > last.start && at < b.Bytes {
			last.bytes = at - last.start
			allocations = append(allocations, allocation{start: at, bytes: b.Bytes - at})
		}
	}
	return allocations
}

// Parts are views of the buffer's allocations.
func (b *Buffer) Parts() []View {
	var views []View
	for _, p := range b.splitUp() {
		views = append(views, b.View().Slice(p.start, p.bytes))
	}
	return views
}

// allocationAt returns the allocation that contains a byte of the buffer.
func (b *Buffer) allocationAt(offset int64) allocation {
	for _, p := range slices.Backward(b.allocations) {
		if offset >= p.start {
			return p
		}
	}
	return allocation{}
}

// Allocate allocates persistent buffers on a device, in as few memories as MaxBufferBytes
// permits; each allocation is aligned. what names the buffers in errors.
func Allocate(dev Device, what string, buffers ...*Buffer) ([]Memory, error) {
	var sizes Segments
	var at []int64 // offset of each allocation in its memory
	var in []int
	limit := dev.Info().Limits.MaxBufferBytes
	for _, b := range buffers {
		b.allocations = b.splitUp()
		for _, p := range b.allocations {
			last := len(sizes) - 1
			if last < 0 || limit > 0 && sizes[last]+align(p.bytes) > limit {
				sizes, last = append(sizes, 0), last+1
			}
			at, in = append(at, sizes[last]), append(in, last)
			sizes[last] += align(p.bytes)
		}
	}
	memories, err := AllocateSegments(dev, what, sizes)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, b := range buffers {
		for i := range b.allocations {
			b.allocations[i].memory, b.allocations[i].offset = memories[in[n]], at[n]
			n++
		}
	}
	return memories, nil
}

// Segments are the sizes in bytes of the memories that make up an arena.
type Segments []int64

// Total is the sum of the sizes.
func (s Segments) Total() (n int64) {
	for _, bytes := range s {
		n += bytes
	}
	return n
}

// Max returns segments large enough for either.
func (s Segments) Max(t Segments) Segments {
	larger := slices.Clone(s)
	for i, bytes := range t {
		if i == len(larger) {
			larger = append(larger, 0)
		}
		larger[i] = max(larger[i], bytes)
	}
	return larger
}

// AllocateSegments allocates a memory for each segment, or none. Its error reports the
// size of all of them.
func AllocateSegments(dev Device, what string, sizes Segments) ([]Memory, error) {
	memories := make([]Memory, 0, len(sizes))
	for _, bytes := range sizes {
		m, err := dev.Allocate(max(bytes, Alignment), what)
		if err != nil {
			Free(memories)
			if limit := dev.Info().Limits.MaxBufferBytes; limit > 0 && bytes > limit {
				return nil, err // too large whatever is free
			}
			return nil, withTotals(err, sizes[:len(memories)].Total(), sizes.Total())
		}
		memories = append(memories, m)
	}
	return memories, nil
}

// withTotals changes the out-of-memory error of one of several allocations to report the
// size of all of them, and what was available before the first. Errors of other calls
// have no such numbers.
func withTotals(err error, before, total int64) error {
	var oom *OutOfMemoryError
	if !errors.As(err, &oom) || oom.What == "" {
		return err
	}
	sum := *oom
	sum.Asked = total
	if sum.Available > 0 {
		sum.Available += before
	}
	return &sum
}

// Free frees memories.
func Free(memories []Memory) {
	for _, m := range memories {
		m.Free()
	}
}

func align(n int64) int64 { return (n + Alignment - 1) / Alignment * Alignment }
