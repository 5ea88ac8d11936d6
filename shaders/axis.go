package shaders

// Axis is a direction in which a call can be cut into calls of fewer units, each of
// which binds a part of what the whole binds: devices limit how much of a buffer
// one binding sees. Done in order, the parts leave what the whole call would, up
// to the rounding of sums that one part goes on with where another ended.
type Axis struct {
	Units uint32
	Spans map[string]Span // by binding; one that is not named is bound whole
	Part  func(first, n uint32) any
}

// Span is where the units of an axis lie in a binding, in bytes: n units from first
// on see Stride·n + Tail from Stride·first on.
type Span struct {
	Stride int64
	Tail   int64 // what lies between columns: they are bound with the rows between
}

// Part is n rows of those that a Count stands for, from first on.
func (c Count) Part(first, n uint32) Count {
	if c.Slot != 0 {
		c.Base += first
	}
	c.Max = n
	return c
}

// Axes are the directions in which a call can be cut, none for kernels that do not
// say.
func (k *Kernel) Axes(params any) []Axis {
	if k.axes == nil {
		return nil
	}
	return k.axes(params)
}

// alongCount is the axis of a kernel that goes along one Count: over gives the
// bytes that a unit takes of each binding, then may change the parameters of a
// part that begins at first, where it is not nil.
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

// accumulateAfterFirst makes every part but the first add to what the one before it left.
func accumulateAfterFirst(flag *uint32, first uint32) {
	if first > 0 {
		*flag = 1
	}
}

// rowBytes is the size of a row.
func rowBytes(cols uint32) int64 { return 4 * int64(cols) }
