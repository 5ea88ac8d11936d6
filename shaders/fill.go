package shaders

// FillParams are the parameters of Fill.
type FillParams struct {
	N     uint32 // elements
	Value float32
}

// Fill sets every element of y.
var Fill = Declare(Decl[FillParams]{
	Name:     "fill",
	Bindings: []Binding{{Name: "y", Access: Write}},
	Variants: One(func(p FillParams) [3]uint32 { return grid1(int(p.N), 64) }),
	Axes: func(p FillParams) []Axis {
		return []Axis{{p.N, elementSpans("y"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p FillParams, b Buffers) {
		y := b.F32(0)
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			for i := range y[lo:hi] {
				y[lo+i] = p.Value
			}
		})
	},
	Reference: func(p FillParams, b []Array) {
		for i := range int(p.N) {
			b[0].F[i] = float64(p.Value)
		}
	},
	Cost: func(p FillParams) Cost { return Cost{Bytes: 4 * float64(p.N)} },
	Cases: func() []Case {
		var cases []Case
		for _, n := range []int{0, 1, 65, 65535*64 + 1} {
			c := Case{Params: FillParams{N: uint32(n), Value: 1.5}, Inputs: []Input{{N: max(n, 1)}}}
			cases = append(cases, c.named("n=%d", n))
		}
		return cases
	},
})
