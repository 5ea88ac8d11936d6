package engine

import (
	"slices"

	"patchwork/shaders"
)

// Within divides every dispatch that binds more than limit bytes of a buffer into
// several, along the axes that its kernel declares; 0 is no limit. A dispatch that cannot
// be divided is left to Info.CheckBinding to report. Backends call it first when they
// compile.
func (p *Plan) Within(limit int64) *Plan {
	if limit <= 0 || !slices.ContainsFunc(p.Dispatches, func(d Dispatch) bool { return overLimit(d, limit) >= 0 }) {
		return p
	}
	divided := &Plan{Program: p.Program, Arena: p.Arena}
	for i, d := range p.Dispatches {
		parts := split(d, limit)
		divided.Dispatches = append(divided.Dispatches, parts...)
		divided.origin = append(divided.origin, slices.Repeat([]int{p.originOf(i)}, len(parts))...)
	}
	divided.Barrier = barriers(divided.Dispatches)
	return divided
}

// originOf is the index of the dispatch before Within.
func (p *Plan) originOf(i int) int {
	if p.origin == nil {
		return i
	}
	return p.origin[i]
}

// SumParts adds up the timings of the parts of each dispatch that Within divided.
func (p *Plan) SumParts(parts []Timing) []Timing {
	if p.origin == nil {
		return parts
	}
	var sums []Timing
	for _, t := range parts {
		t.Dispatch = p.originOf(t.Dispatch)
		if last := len(sums) - 1; last >= 0 && sums[last].Dispatch == t.Dispatch {
			sums[last].Duration += t.Duration
			continue
		}
		sums = append(sums, t)
	}
	return sums
}

// overLimit is the index of the first view larger than the limit, -1 for none.
func overLimit(d Dispatch, limit int64) int {
	return slices.IndexFunc(d.Views, func(v View) bool { return v.Buffer != nil && v.Bytes > limit })
}

// split divides a dispatch until its parts bind at most limit bytes of a buffer, or no
// axis helps.
func split(d Dispatch, limit int64) []Dispatch {
	wide := overLimit(d, limit)
	if wide < 0 {
		return []Dispatch{d}
	}
	for _, axis := range d.Kernel.Axes(d.Params) {
		n := unitsWithin(d, axis, wide, limit)
		if n <= 0 {
			continue
		}
		var parts []Dispatch
		for first := int64(0); first < int64(axis.Units); first += n {
			part := partOf(d, axis, first, min(n, int64(axis.Units)-first))
			parts = append(parts, split(part, limit)...)
		}
		return parts
	}
	return []Dispatch{d}
}

// unitsWithin is how many units of an axis fit the limit of a binding, such that each
// part begins at an aligned offset: 0 when not even one fits, or when all do.
func unitsWithin(d Dispatch, axis shaders.Axis, wide int, limit int64) int64 {
	span := spanAt(d, axis, wide)
	if span.Stride <= 0 {
		return 0
	}
	n := (limit - span.Tail) / span.Stride
	if n >= int64(axis.Units) {
		return 0
	}
	grain := int64(1)
	for i := range d.Views {
		for grain*spanAt(d, axis, i).Stride%Alignment != 0 {
			grain *= 2
		}
	}
	return n / grain * grain
}

// spanAt is the span of binding i along an axis, which is declared for elements of four
// bytes; zero when the axis does not divide the binding.
func spanAt(d Dispatch, axis shaders.Axis, i int) shaders.Span {
	b := d.Kernel.Bindings[i]
	span, size := axis.Spans[b.Name], d.Storage.Of(i, b).Size()
	return shaders.Span{Stride: span.Stride * size / 4, Tail: span.Tail * size / 4}
}

// partOf is the dispatch of n units of an axis, starting at first.
func partOf(d Dispatch, axis shaders.Axis, first, n int64) Dispatch {
	part := d
	part.Params = axis.Part(uint32(first), uint32(n))
	part.Views = slices.Clone(d.Views)
	for i, v := range d.Views {
		span := spanAt(d, axis, i)
		switch {
		case v.Buffer == nil:
		case d.Kernel.HasScratch() && i == len(d.Views)-1:
			part.Views[i] = v.Slice(0, min(v.Bytes, d.Kernel.Scratch(part.Params)))
		case span.Stride > 0:
			// Rows of quantised blocks may end in the middle of a word.
			at, words := min(first*span.Stride, v.Bytes), (n*span.Stride+span.Tail+3)/4
			part.Views[i] = v.Slice(at, min(4*words, v.Bytes-at))
		}
	}
	return part
}
