package engine

import (
	"errors"
	"slices"
)

// SplitAt lets a persistent buffer be divided between memories at byte offsets in
// ascending order. What a kernel binds must not cross one. It is called before the
// buffer is recorded or allocated.
func (b *Buffer) SplitAt(at []int64) { b.splits = at }

// Contiguous says whether no cut lies inside a range of the buffer, so that a kernel can
// bind it at once.
func (b *Buffer) Contiguous(offset, bytes int64) bool {
	return !slices.ContainsFunc(b.splits, func(at int64) bool { return at > offset && at < offset+bytes })
}

// allocation is a persistent buffer from one cut to the next.
type allocation struct {
	start, bytes int64  // in the buffer
	memory       Memory // nil until placed
	offset       int64  // in the memory
}

// splitUp returns the buffer's pieces, which have no memory yet.
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

// Parts are views of the buffer between its cuts.
func (b *Buffer) Parts() []View {
	var views []View
	for _, p := range b.splitUp() {
		views = append(views, b.View().Slice(p.start, p.bytes))
	}
	return views
}

// allocationAt is the one that a byte of the buffer lies in.
func (b *Buffer) allocationAt(offset int64) allocation {
	for _, p := range slices.Backward(b.allocations) {
		if offset >= p.start {
			return p
		}
	}
	return allocation{}
}

// Allocate places persistent buffers on a device, each piece aligned, together in
// as few memories as the device's limit lets them be. what names them in errors.
func Allocate(dev Device, what string, buffers ...*Buffer) ([]Memory, error) {
	var sizes Segments
	var at []int64 // of each piece, in the memory that is the last one then
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

// Segments are the sizes in bytes of memories that are used as one.
type Segments []int64

// Total is the size of all.
func (s Segments) Total() (n int64) {
	for _, bytes := range s {
		n += bytes
	}
	return n
}

// Or returns segments that have room for either.
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

// AllocateSegments reserves a memory for each segment, or none. Its error says how
// much all of them take.
func AllocateSegments(dev Device, what string, sizes Segments) ([]Memory, error) {
	memories := make([]Memory, 0, len(sizes))
	for _, bytes := range sizes {
		m, err := dev.Allocate(max(bytes, Alignment), what)
		if err != nil {
			Free(memories)
			if limit := dev.Info().Limits.MaxBufferBytes; limit > 0 && bytes > limit {
				return nil, err // no matter how much of the others there is
			}
			return nil, withTotals(err, sizes[:len(memories)].Total(), sizes.Total())
		}
		memories = append(memories, m)
	}
	return memories, nil
}

// withTotals makes the refusal of one of several allocations say what all of them take,
// and what there was before the first. An error of another call has no such figures.
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

// Free gives memories back.
func Free(memories []Memory) {
	for _, m := range memories {
		m.Free()
	}
}

func align(n int64) int64 { return (n + Alignment - 1) / Alignment * Alignment }
