package engine

import (
	"cmp"
	"fmt"
	"slices"
)

// assignOffsets gives every buffer a segment of the arena and an offset such that buffers
// that are live at the same time do not overlap, largest first, each at the lowest free
// offset (greedy by size: Pisarchyk and Lee, "Efficient memory management for deep neural
// net inference", 2020). Segments are treated as pages of one long arena; no buffer
// crosses a page, and a segment ends where its last buffer does. It returns the segments'
// sizes.
func assignOffsets(lives []lifetime, limit int64) (Segments, error) {
	order := slices.Clone(lives)
	slices.SortStableFunc(order, func(a, b lifetime) int { return cmp.Compare(b.buffer.Bytes, a.buffer.Bytes) })
	page := limit / Alignment * Alignment
	if limit > 0 && len(order) > 0 && align(order[0].buffer.Bytes) > page {
		return nil, &OutOfMemoryError{What: fmt.Sprintf("the activations %q, in one buffer,", order[0].buffer.Label), Asked: order[0].buffer.Bytes, Available: page}
	}
	var placed []lifetime // by offset in the long arena
	for _, l := range order {
		size := align(l.buffer.Bytes)
		var at int64
		for _, other := range placed {
			if other.last < l.first || l.last < other.first {
				continue
			}
			if at+size <= other.buffer.offset {
				break
			}
			at = onPage(max(at, other.buffer.offset+align(other.buffer.Bytes)), size, page)
		}
		l.buffer.offset = at
		i, _ := slices.BinarySearchFunc(placed, at, func(o lifetime, at int64) int { return cmp.Compare(o.buffer.offset, at) })
		placed = slices.Insert(placed, i, l)
	}
	return segments(placed, page), nil
}

// onPage is the lowest offset, at or above at, at which size bytes do not cross the end
// of a page.
func onPage(at, size, page int64) int64 {
	if page > 0 && size > 0 && at/page != (at+size-1)/page {
		return (at/page + 1) * page
	}
	return at
}

// segments converts offsets in the long arena to offsets in a segment.
func segments(placed []lifetime, page int64) Segments {
	var sizes Segments
	for _, l := range placed {
		b := l.buffer
		b.segment = 0
		if page > 0 {
			b.segment, b.offset = int(b.offset/page), b.offset%page
		}
		for len(sizes) <= b.segment {
			sizes = append(sizes, 0)
		}
		sizes[b.segment] = max(sizes[b.segment], b.offset+align(b.Bytes))
	}
	return sizes
}
