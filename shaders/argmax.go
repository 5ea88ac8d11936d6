package shaders

import (
	"math"
	"slices"
)

// ArgMaxParams are the parameters of ArgMax.
type ArgMaxParams struct {
	Rows Count
	Cols uint32
	LD   uint32 `kernel:"layout"` // elements from one row of x to the next
	Base uint32 `kernel:"layout"` // first entry of y to write
}

// argMaxChunk is the number of columns of a workgroup where a row has many: a single
// workgroup would spend most of its time waiting for memory.
const argMaxChunk = 1024

func argMaxRows(p ArgMaxParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }

// argMax is the first column with the largest value of a row; -1 where a value is NaN or
// the largest is infinite.
func argMax(row []float32) int32 {
	best := 0
	for i, v := range row {
		if !(v <= row[best]) { // larger, or NaN
			if v != v {
				return -1
			}
			best = i
		}
	}
	if math.IsInf(float64(row[best]), 0) {
		return -1
	}
	return int32(best)
}

// ArgMax writes the column of the largest value of every row of x [Rows,LD], of which
// Cols are used, the first of equal ones, to y[Base+r]; -1 where a value is NaN, or the
// largest infinite.
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
	}}, rowReduction(func(p ArgMaxParams) uint32 { return p.Cols }, DeclPass[ArgMaxParams]{Grid: argMaxRows})...),
	Scratch: func(p ArgMaxParams) int64 { return 4 * int64(p.Rows.Max) * int64(chunksOf(p.Cols, argMaxChunk)) },
	Axes: alongCount(func(p *ArgMaxParams) *Count { return &p.Rows }, func(p ArgMaxParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.LD)}
	}, func(p *ArgMaxParams, first uint32) { p.Base += first }),
	CPU: func(h Host, p ArgMaxParams, b Buffers) {
		x, y, cols := b.F32(0), b.I32(1), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				y[int(p.Base)+r] = argMax(x[r*int(p.LD):][:cols])
			}
		})
	},
	Reference: func(p ArgMaxParams, b []Array) {
		for r := range int(p.Rows.Max) {
			row := b[0].F[r*int(p.LD):][:p.Cols]
			rowMax := slices.Max(row) // NaN where there is one
			if b[1].I[int(p.Base)+r] = -1; !math.IsInf(rowMax, 0) {
				b[1].I[int(p.Base)+r] = int64(slices.Index(row, rowMax)) // -1 of NaN, which equals nothing
			}
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
		// A row for every position of the largest value; the gaps between rows hold
		// larger ones.
		peaks := func(cols, ld int, positions ...int) Case {
			x := Input{F: make([]float32, len(positions)*ld)}
			for i := range x.F {
				x.F[i] = float32(i*7919%1009) + 5000*float32(i%ld/cols)
			}
			for r, at := range positions {
				x.F[r*ld+at] = 2000
			}
			return call(N(len(positions)), cols, ld, x).named("%d peaks in %d", len(positions), cols)
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
			call(N(3), 500, 500, ties).named("ties"), call(N(rowsNotFinite), 40, 40, notFiniteRows(40)).named("not finite"), call(N(rowsNotFinite), 5000, 5000, notFiniteRows(5000)).named("not finite, many"), call(N(3), 100, 500, ties).named("gaps between rows"), call(N(3), 500, 500, Input{N: 1500, Mean: -1e30, Scale: 1e29}).named("negative"))
	},
})

// rowsNotFinite is the number of rows of notFiniteRows.
const rowsNotFinite = 9

// notFiniteRows are rows with NaN and infinities at their beginning, in them and at their
// end; in some the largest value is finite.
func notFiniteRows(cols int) Input {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := Input{F: make([]float32, rowsNotFinite*cols)}
	row := func(r int) []float32 { return x.F[r*cols:][:cols] }
	for i := range x.F {
		x.F[i] = float32(i * 7919 % 1009)
	}
	row(0)[0], row(1)[cols/2], row(2)[cols-1] = nan, math.Float32frombits(0xff800001), nan
	row(3)[0], row(4)[cols-1] = inf, inf
	for i := range cols {
		row(5)[i], row(6)[i], row(7)[i] = nan, -inf, -inf
	}
	row(7)[cols/3] = -math.MaxFloat32
	row(8)[0], row(8)[cols/2], row(8)[cols-1] = -inf, math.MaxFloat32, float32(math.Copysign(0, -1))
	return x
}
