package shaders

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"patchwork/shaders/half"
	"patchwork/shaders/quant"
	"patchwork/shaders/quant/simd"
)

// AppendQuantParams are the parameters of AppendQuant.
type AppendQuantParams struct {
	Rows Count
	Cols uint32 // a multiple of 32
	Slot uint32 `kernel:"layout"` // entry of the step block that holds the first row to write
	Ring uint32 `kernel:"layout"` // as AppendRowsParams'
}

// QuantRowBytes is the size of a row of cols values, a multiple of 32, that AppendQuant
// writes: blocks of quant.Q8_0, padded to whole words, which invocations write by themselves.
func QuantRowBytes(cols int) int { return (quant.Q8_0.Bytes(cols) + 3) / 4 * 4 }

// AppendQuant rounds x [Rows,Cols] to blocks of quant.Q8_0, to the rows of y that start at
// the step block's entry Slot; a row takes QuantRowBytes. A block's scale is a 127th of its
// largest magnitude, NaN where a value is infinite or NaN.
var AppendQuant = Declare(Decl[AppendQuantParams]{
	Name: "append_quant",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Type: U32, Access: ReadWrite},
	},
	Include: []string{"ring"},
	Variants: []DeclVariant[AppendQuantParams]{{
		Passes: []DeclPass[AppendQuantParams]{{Grid: func(p AppendQuantParams) [3]uint32 {
			return grid1(int(p.Rows.Max)*chunksOf(p.Cols, 64), 64)
		}}},
	}},
	Halves: [][]string{{"x"}},
	Even:   func(AppendQuantParams) bool { return true }, // whole blocks
	CPU: func(h Host, p AppendQuantParams, b Buffers) {
		x, cols, first := b.F32(0), int(p.Cols), int(h.Step()[p.Slot])
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			blocks, scales := make([]simd.Block, cols/32), make([]simd.Scale, cols/32)
			for r := lo; r < hi; r++ {
				appendQuantRow(b[1][ringRow(first+r, p.Ring)*QuantRowBytes(cols):][:QuantRowBytes(cols)], x[r*cols:][:cols], blocks, scales)
			}
		})
	},
	Reference: func(p AppendQuantParams, b []Array) {
		cols, words := int(p.Cols), QuantRowBytes(int(p.Cols))/4
		row := make([]byte, 4*words)
		for r := range int(p.Rows.Max) {
			appendQuantReference(row, b[0].F[r*cols:][:cols])
			to := b[1].I[ringRow(int(b[2].I[p.Slot])+r, p.Ring)*words:]
			for i := range words {
				to[i] = int64(binary.LittleEndian.Uint32(row[4*i:]))
			}
		}
	},
	Cost: func(p AppendQuantParams) Cost {
		return Cost{Bytes: float64(p.Rows.Max) * float64(4*int(p.Cols)+QuantRowBytes(int(p.Cols)))}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, scale float32) Case {
			n := int(rows.Max)
			old := Input{U: make([]uint32, (n+5)*QuantRowBytes(cols)/4)}
			for i := range old.U {
				old.U[i] = uint32(i) * 2654435761
			}
			c := Case{
				Params: AppendQuantParams{Rows: rows, Cols: uint32(cols), Slot: 5}, Step: withWord(nil, 5, 3),
				Inputs: []Input{quantizable(n*cols, scale), old},
			}
			return c.named("%dx%d", n, cols)
		}
		cases := []Case{call(N(1), 32, 1), call(N(3), 64, 1), call(N(5), 96, 1), call(N(130), 192, 1), call(N(40), 256, 1), call(N(2), 1024, 1)}
		cases = append(cases, call(N(3), 96, 1.3759766).named("scales that are no powers of 2"))
		zeros := call(N(2), 96, 1)
		clear(zeros.Inputs[0].F)
		tiny := call(N(2), 64, 0x1p-20) // scales are denormal numbers of F16
		huge := call(N(2), 64, 0x1p20)  // scales are beyond F16's range
		for _, c := range overCounts(40, func(rows Count) Case { return call(rows, 96, 1) }) {
			c.Step = withWord(c.Step, 5, 3)
			cases = append(cases, c)
		}
		ring := call(N(7), 96, 1)
		p := ring.Params.(AppendQuantParams)
		p.Ring = 9
		ring.Params, ring.Step = p, withWord(nil, 5, 15)
		ring.Inputs[1].U = ring.Inputs[1].U[:9*QuantRowBytes(96)/4]
		return append(cases, ring.named("in a ring"), zeros.named("zeros"), tiny.named("tiny"), huge.named("huge"))
	},
})

// appendQuantRow writes the blocks of a row x; the padding is 0.
func appendQuantRow(to []byte, x []float32, blocks []simd.Block, scales []simd.Scale) {
	new(simd.Format).Quantize(blocks, scales, x, len(x), 1, len(x))
	for i := range blocks {
		scale := scales[i].Scale
		if scale-scale != 0 { // infinite or NaN
			scale, blocks[i] = float32(math.NaN()), simd.Block{}
		}
		binary.LittleEndian.PutUint16(to, half.ToF16(scale))
		for j, v := range blocks[i].Values {
			to[2+j] = byte(v)
		}
		to = to[34:]
	}
	clear(to)
}

func appendQuantReference(to []byte, x []float64) {
	for ; len(x) > 0; x, to = x[32:], to[34:] {
		var largest float64
		for _, v := range x[:32] {
			largest = max(largest, math.Abs(v))
		}
		clear(to[:34])
		switch {
		case math.IsNaN(largest) || math.IsInf(largest, 0):
			binary.LittleEndian.PutUint16(to, half.ToF16(float32(math.NaN())))
		case largest >= 1e-36:
			binary.LittleEndian.PutUint16(to, half.ToF16(float32(largest/127)))
			for i, v := range x[:32] {
				to[2+i] = byte(int8(math.RoundToEven(v * 127 / largest)))
			}
		}
	}
	clear(to)
}

// quantizable is n values in blocks of 32, each near a multiple of a 127th of its block's
// largest, which is scale times a power of 2: no rounding decides between two integers.
func quantizable(n int, scale float32) Input {
	random := rand.New(rand.NewPCG(uint64(n), 5))
	in := Input{F: make([]float32, n)}
	exact := scale == float32(math.Exp2(math.Round(math.Log2(float64(scale)))))
	for i := 0; i < n; i += 32 {
		block, unit := in.F[i:i+32], scale*float32(math.Exp2(float64(random.IntN(5)-2)))
		for j := range block {
			q := float32(random.IntN(253) - 126)
			if exact {
				q += 0.4*random.Float32() - 0.2
			}
			block[j] = unit * q
		}
		block[random.IntN(32)] = unit * float32(127-254*random.IntN(2))
	}
	return in
}
