package shaders

import (
	"math"
	"slices"
)

// CopyParams are the parameters of Copy.
type CopyParams struct {
	N uint32 // elements
}

// Copy computes y = x. With one of them stored in 16 bits it converts.
var Copy = Declare(Decl[CopyParams]{
	Name: "copy",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: []DeclVariant[CopyParams]{
		{
			Name: "four", Vec4: []string{"x", "y"},
			When:   func(p CopyParams, _ Class) bool { return p.N%4 == 0 },
			Passes: []DeclPass[CopyParams]{{Grid: copyGrid}},
		},
		{Passes: []DeclPass[CopyParams]{{Grid: copyGrid}}},
	},
	Halves: [][]string{{"x"}, {"y"}},
	Even:   func(p CopyParams) bool { return p.N%2 == 0 },
	Axes: func(p CopyParams) []Axis {
		return []Axis{{p.N, elementSpans("x", "y"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p CopyParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(int(p.N), 16*elementGrain, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) })
	},
	Reference: func(p CopyParams, b []Array) { copy(b[1].F[:p.N], b[0].F) },
	Cost:      func(p CopyParams) Cost { return Cost{Bytes: 8 * float64(p.N)} },
	Cases: func() []Case {
		var cases []Case
		for _, n := range []int{1, 3, 64, 65, 260, 1024, 1031, 65535*64*4 + 4} {
			c := Case{Params: CopyParams{N: uint32(n)}, Inputs: []Input{{N: n, Scale: 1}, {N: n}}}
			cases = append(cases, c.named("n=%d", n))
		}
		// Ties, values out of a type's range, and NaN, by their bits.
		return append(cases, Case{Params: CopyParams{N: uint32(len(roundings))}, Inputs: []Input{{F: roundings}, {N: len(roundings)}}}.named("roundings"))
	},
})

func copyGrid(p CopyParams) [3]uint32 { return grid1((int(p.N)+3)/4, 64) }

// roundings are floats on both sides of the 16-bit types' rounding boundaries, and at the
// ends of their ranges.
var roundings = func() []float32 {
	x := slices.Clone(extremes)
	for _, bits := range []uint32{0x3f800000, 0x3f808000, 0x3f807fff, 0x3f808001, 0x3f818000, 0x3f801000, 0x3f800fff, 0x3f803000,
		0x477fe000, 0x477fefff, 0x477ff000, 0x7f7f7fff, 0x7f7f8000, 0x38800000, 0x387fffff, 0x33800000, 0x33000000, 0x33000001, 0x32ffffff, 0x38500800,
		0x7f800001, 0x7fffffff} { // NaN: rounding must not carry into the exponent
		x = append(x, math.Float32frombits(bits), -math.Float32frombits(bits))
	}
	return append(x[:len(x)/4*4], float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0)
}()
