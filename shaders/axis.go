package shaders

// Axis is a dimension along which a call can be divided into calls of fewer units, each
// of which binds a part of the buffers: devices limit the size of a binding. Run in
// order, the parts give the result of the whole call, up to the rounding of sums that a
// part continues.
type Axis struct {
	Units uint32
	Spans map[string]Span // by binding; those without one are bound whole
	Part  func(first, n uint32) any
}

// Span is the byte range of an axis's units in a binding: n units starting at first bind
// Stride·n + Tail bytes at offset Stride·first.
type Span struct {
	Stride int64
	Tail   int64 // bytes between columns, which are bound together
}

// Part is n of a Count's rows, starting at first.
func (c Count) Part(first, n uint32) Count {
	if c.Slot != 0 {
		c.Base += first
	}
	c.Max = n
	return c
}

// Axes are the axes along which a call can be divided, nil for kernels that declare none.
func (k *Kernel) Axes(params any) []Axis {
	if k.axes == nil {
		return nil
	}
	return k.axes(params)
}

// alongCount is the axis of a kernel over one Count: over returns the bytes of a unit in
// each binding; then, if not nil, changes the parameters of a part that starts at first.
func alongCount[P any](count func(p *P) *Count, over func(p P) map[string]int64, then func(p *P, first uint32)) func(p P) []Axis {
	return func(p P) []Axis {
		spans := map[string]Span{}
		for name, stride := range over(p) {
			spans[name] = Span{Stride: stride}
		}
		return []Axis{{count(&p).Max, spans, func(first, n uint32) any {
			part := p
			*count(&part) = count(&part).Part(first, n)
			if then != nil {
				then(&part, first)
			}
			return part
		}}}
	}
}

// alongElements is the axis of an elementwise kernel.
func alongElements[P any](count func(p *P) *Count, bindings ...string) func(p P) []Axis {
	return alongCount(count, func(P) map[string]int64 { return perElement(bindings...) }, nil)
}

// elementSpans are the spans of an elementwise kernel that has no Count.
func elementSpans(bindings ...string) map[string]Span {
	spans := map[string]Span{}
	for _, name := range bindings {
		spans[name] = Span{Stride: 4}
	}
	return spans
}

func perElement(bindings ...string) map[string]int64 {
	over := map[string]int64{}
	for _, name := range bindings {
		over[name] = 4
	}
	return over
}

// accumulateAfterFirst makes every part but the first add to the result of the one before
// it.
func accumulateAfterFirst(flag *uint32, first uint32) {
	if first > 0 {
		*flag = 1
	}
}

// rowBytes is the size of a row.
func rowBytes(cols uint32) int64 { return 4 * int64(cols) }
