package shaders

import "slices"

// ArgMaxParams are the parameters of ArgMax.
type ArgMaxParams struct {
	Rows Count
	Cols uint32
	LD   uint32 // elements from one row of x to the next
	Base uint32 // first entry of y to write
}

// argMaxChunk is how many columns a workgroup looks through where a row has many.
const argMaxChunk = 1024

func argMaxRows(p ArgMaxParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }

// ArgMax writes the column of the largest value of every row of x [Rows,LD], of which Cols count,
// the first of equals, to y[Base+r].
var ArgMax = Declare(Decl[ArgMaxParams]{
	Name: "argmax",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Type: I32, Access: ReadWrite},
	},
	Include: []string{"best"},
	Variants: append([]DeclVariant[ArgMaxParams]{{
		Name: "chunks", Source: "argmax_chunks", Group: 128, Consts: map[string]uint32{"CHUNK": argMaxChunk},
		// Scratch holds columns as floats, exact up to 2^24.
		When: func(p ArgMaxParams, c Class) bool { return c != Software && p.Cols >= 4*argMaxChunk && p.Cols <= 1<<24 },
		Passes: []DeclPass[ArgMaxParams]{
			{Entry: "chunk", Grid: func(p ArgMaxParams) [3]uint32 { return gridGroups(int(p.Rows.Max) * chunksOf(p.Cols, argMaxChunk)) }},
			{Grid: argMaxRows},
		},
	}}, byGroup(func(p ArgMaxParams) uint32 { return p.Cols }, DeclPass[ArgMaxParams]{Grid: argMaxRows})...),
	Scratch: func(p ArgMaxParams) int64 { return 4 * int64(p.Rows.Max) * int64(chunksOf(p.Cols, argMaxChunk)) },
	Axes: alongCount(func(p *ArgMaxParams) *Count { return &p.Rows }, func(p ArgMaxParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.LD)}
	}, func(p *ArgMaxParams, first uint32) { p.Base += first }),
	CPU: func(h Host, p ArgMaxParams, b Buffers) {
		x, y, cols := b.F32(0), b.I32(1), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row, best := x[r*int(p.LD):][:cols], 0
				for i, v := range row {
					if v > row[best] {
						best = i
					}
				}
				y[int(p.Base)+r] = int32(best)
			}
		})
	},
	Reference: func(p ArgMaxParams, b []Array) {
		for r := range int(p.Rows.Max) {
			row := b[0].F[r*int(p.LD):][:p.Cols]
			b[1].I[int(p.Base)+r] = int64(slices.Index(row, slices.Max(row)))
		}
	},
	Cost: func(p ArgMaxParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n, Bytes: 4 * n}
	},
	Cases: func() []Case {
		call := func(rows Count, cols, ld int, x Input) Case {
			n := int(rows.Max)
			return Case{Params: ArgMaxParams{rows, uint32(cols), uint32(ld), 2}, Inputs: []Input{x, integers(n+2, 0, 9)}}
		}
		ties := Input{F: make([]float32, 3*500)}
		for i := range ties.F {
			ties.F[i] = float32(i % 250 % 7)
		}
		// A row for every place of its largest value; what lies between rows is larger.
		peaks := func(cols, ld int, places ...int) Case {
			x := Input{F: make([]float32, len(places)*ld)}
			for i := range x.F {
				x.F[i] = float32(i*7919%1009) + 5000*float32(i%ld/cols)
			}
			for r, at := range places {
				x.F[r*ld+at] = 2000
			}
			return call(N(len(places)), cols, ld, x).named("%d peaks in %d", len(places), cols)
		}
		plain := func(rows Count, cols int) Case {
			return call(rows, cols, cols, Input{N: int(rows.Max) * cols, Scale: 1})
		}
		cases := append(overRows(plain), overCounts(6, func(rows Count) Case { return plain(rows, 5000) })...)
		// Rows that overlap make more than 65535 chunks of few values.
		many := call(N(16400), 4097, 1, Input{N: 16400 + 4096, Scale: 1}).named("many chunks")
		many.Long = true
		return append(cases, many, plain(N(1), 49152).named("a vocabulary"),
			peaks(5120, 5120, 0, 127, 128, 1023, 1024, 1151, 1152, 2047, 4096, 4224, 5119), peaks(4101, 4300, 0, 4095, 4096, 4100), peaks(4097, 4097, 4096),
			peaks(140000, 140000, 131072+5, 132096, 139999), // more chunks than a workgroup has invocations
			call(N(2), 140000, 140000, Input{F: make([]float32, 2*140000)}).named("all equal"),
			call(N(3), 500, 500, ties).named("ties"), call(N(3), 100, 500, ties).named("gaps between rows"), call(N(3), 500, 500, Input{N: 1500, Mean: -1e30, Scale: 1e29}).named("negative"))
	},
})
