package shaders

import (
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders/half"
	"patchwork/shaders/quant"
)

// FakeQuantParams are the parameters of FakeQuant.
type FakeQuantParams struct {
	N      uint32 // elements, whole blocks
	Format uint32 // a quant.Format of FakeQuantFormats
}

// FakeQuantFormats are the block formats that FakeQuant knows: those of 32 values.
var FakeQuantFormats = []quant.Format{quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1}

// FakeQuant computes y = x rounded to the values that blocks of a quant.Format hold: what
// quant.Format's Encode and Decode make of x. A block with a value that is not finite, or with a
// scale or minimum beyond F16, has no finite value.
var FakeQuant = Declare(Decl[FakeQuantParams]{
	Name: "fake_quant",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: []DeclVariant[FakeQuantParams]{{
		Consts: map[string]uint32{"Q8_0": uint32(quant.Q8_0), "Q4_1": uint32(quant.Q4_1), "Q5_0": uint32(quant.Q5_0), "Q5_1": uint32(quant.Q5_1)},
		Vec4:   []string{"x", "y"},
		Passes: []DeclPass[FakeQuantParams]{{Grid: func(p FakeQuantParams) [3]uint32 { return grid1(int(p.N)/4, 64) }}},
	}},
	Halves: [][]string{{"y"}},
	Even:   func(FakeQuantParams) bool { return true }, // whole blocks
	Axes: func(p FakeQuantParams) []Axis {
		block := Span{Stride: 4 * fakeQuantBlock}
		return []Axis{{p.N / fakeQuantBlock, map[string]Span{"x": block, "y": block}, func(_, n uint32) any { p.N = n * fakeQuantBlock; return p }}}
	},
	CPU: func(h Host, p FakeQuantParams, b Buffers) {
		f, x, y := quant.Format(p.Format), b.F32(0), b.F32(1)
		h.Parallel(int(p.N)/fakeQuantBlock, elementGrain/fakeQuantBlock, func(lo, hi int) {
			var encoded [34]byte // the largest block
			for at := lo * fakeQuantBlock; at < hi*fakeQuantBlock; at += fakeQuantBlock {
				fakeQuantBlockCPU(f, y[at:][:fakeQuantBlock], x[at:][:fakeQuantBlock], encoded[:f.Bytes(fakeQuantBlock)])
			}
		})
	},
	Reference: func(p FakeQuantParams, b []Array) {
		for at := 0; at < int(p.N); at += fakeQuantBlock {
			fakeQuantReference(quant.Format(p.Format), b[1].F[at:][:fakeQuantBlock], b[0].F[at:][:fakeQuantBlock])
		}
	},
	Cost: func(p FakeQuantParams) Cost { return Cost{Flops: 8 * float64(p.N), Bytes: 8 * float64(p.N)} },
	Inputs: func(p FakeQuantParams, n []int) map[string]Input {
		return map[string]Input{"x": {F: offGrid(quant.Format(p.Format), n[0])}}
	},
	Cases: fakeQuantCases,
})

// fakeQuantBlock is the number of values of a block.
const fakeQuantBlock = 32

func fakeQuantBlockCPU(f quant.Format, y, x []float32, encoded []byte) {
	var spoiled float32 // NaN if a value is not finite, which a block cannot say
	for _, v := range x {
		spoiled += v - v
	}
	f.Encode(encoded, x)
	f.Decode(y, encoded)
	for i := range y {
		y[i] += spoiled
	}
}

// fakeQuantReference is one block.
func fakeQuantReference(f quant.Format, y, x []float64) {
	var extreme, sum float64
	for _, v := range x {
		if sum += v; math.Abs(v) > math.Abs(extreme) {
			extreme = v
		}
	}
	var low, scale, zero float64
	most := map[quant.Format]float64{quant.Q8_0: 254, quant.Q4_0: 15, quant.Q4_1: 15, quant.Q5_0: 31, quant.Q5_1: 31}[f]
	switch f {
	case quant.Q8_0:
		zero, scale = 127, math.Abs(extreme)/127
	case quant.Q4_0, quant.Q5_0:
		zero = (most + 1) / 2
		scale = -extreme / zero
	default:
		low = slices.Min(x)
		scale = (slices.Max(x) - low) / most
	}
	stored, minimum := roundF16(scale), roundF16(low)
	if invalid := sum + stored + minimum; math.IsInf(invalid, 0) || math.IsNaN(invalid) {
		stored = math.NaN()
	}
	for i, v := range x {
		q := zero
		if scale != 0 {
			q = max(0, min(most, math.Floor((v-low)/scale+zero+0.5)))
		}
		y[i] = stored*(q-zero) + minimum
	}
}

func roundF16(x float64) float64 { return float64(half.F16.Round(float32(x))) }

// offGrid are n values of blocks whose scales, and values in units of them, keep away from
// where rounding changes, so that a division's rounding does not decide: scales by a fifth of
// F16's last place, values by a tenth of the scale.
func offGrid(f quant.Format, n int) []float32 {
	random := rand.New(rand.NewPCG(uint64(f), uint64(n)))
	between := func(low, high float64) float64 { return low + (high-low)*random.Float64() }
	x := make([]float32, n)
	for at := 0; at+fakeQuantBlock <= n; at += fakeQuantBlock {
		scale := math.Ldexp(1+(float64(random.IntN(1024))+between(-0.3, 0.3))/1024, -random.IntN(9))
		// In units of the scale: the integers' range, and the value that sets the scale.
		low, high, extreme, shift := -126, 126, 127.0, 0.0
		switch f {
		case quant.Q4_0:
			low, high, extreme = -7, 8, -8
		case quant.Q5_0:
			low, high, extreme = -15, 16, -16
		case quant.Q4_1:
			low, extreme, shift = -random.IntN(15), 0, -0.2
			high = low + 15
		case quant.Q5_1:
			low, extreme, shift = -random.IntN(31), 0, -0.2
			high = low + 31
		}
		if f != quant.Q4_1 && f != quant.Q5_1 && random.IntN(2) == 0 {
			scale = -scale
		}
		block := x[at:][:fakeQuantBlock]
		for i := range block {
			integer := low + random.IntN(high-low+1)
			offset := between(-0.4, 0.4)
			if integer == high || integer == low {
				offset = between(0.1, 0.4) * float64(1-2*(integer-low)/(high-low)) // inside the range
			}
			block[i] = float32((float64(integer) + offset + shift) * scale)
		}
		setRange(block, random, float64(low)+shift, float64(high)+shift, extreme, scale)
	}
	return x
}

// setRange puts what sets a block's scale at random places of it: the extreme, or without one the
// lowest and the highest value.
func setRange(block []float32, random *rand.Rand, low, high, extreme, scale float64) {
	places := random.Perm(len(block))
	if extreme != 0 {
		block[places[0]] = float32(extreme * scale)
		return
	}
	for i, v := range block {
		block[i] = float32(min(max(float64(v), low*scale), high*scale))
	}
	block[places[0]], block[places[1]] = float32(low*scale), float32(high*scale)
}

func fakeQuantCases() []Case {
	var cases []Case
	for _, f := range FakeQuantFormats {
		call := func(x []float32) Case {
			n := len(x)
			return Case{
				Params: FakeQuantParams{N: uint32(n), Format: uint32(f)}, Inputs: []Input{{F: x}, {N: n}},
				Rtol:         1e-7, // one rounding, of the sum of a product, which is exact, and a minimum
				AnyNonFinite: true,
			}
		}
		for _, n := range []int{32, 96, 256, 2048 + 32} {
			cases = append(cases, call(offGrid(f, n)).named("%v n=%d", f, n))
		}
		cases = append(cases, call(unusualBlocks()).named("%v unusual blocks", f))
	}
	n := 65535*64*4 + fakeQuantBlock // more than 65535 workgroups
	large := slices.Repeat(offGrid(quant.Q4_0, 1<<16), n>>16+1)[:n]
	return append(cases, Case{
		Params: FakeQuantParams{N: uint32(n), Format: uint32(quant.Q4_0)}, Inputs: []Input{{F: large}, {N: n}}, Rtol: 1e-7,
	}.named("q4_0 n=%d", n))
}

// unusualBlocks are blocks of zeros, of one value, of both signs of the largest magnitude, with
// scales that are denormal or 0 in F16, with the largest scale and minimum and those just beyond,
// with minima halfway between two of F16, and with a NaN.
func unusualBlocks() []float32 {
	block := func(head ...float32) []float32 { return append(head, make([]float32, fakeQuantBlock-len(head))...) }
	tiny := func(unit float32) []float32 { // of F16's last place, 2⁻²⁴
		return block(unit*-8*0x1p-24, unit*3.2*0x1p-24, unit*-5.1*0x1p-24)
	}
	return slices.Concat(
		block(), slices.Repeat([]float32{0.3}, fakeQuantBlock), slices.Repeat([]float32{-0.3}, fakeQuantBlock),
		block(1.1, 3, -3, 0.4), block(1.1, -3, 3, 0.4), block(0, 0, 0, 0, 0, 0, 3, 0, 0, -3, 0, 1.3),
		tiny(2.3), tiny(40.2), tiny(700.3), tiny(0.1), tiny(1e-3),
		block(-8*65510, 65510*2.2), block(-16*65510, 65510*2.2), block(127*65510, 65510*2.2), block(-8*66000, 1), block(-8*65530, 1), block(-16*65530, 1), block(127*65530, 1), block(15*65530, 1), block(31*65530, 1), block(-65530), block(-65510, 2000),
		block(-1-0x1p-11), block(-1-3*0x1p-11), block(1.1, 2, 3, 0, 0, 0, 0, 0, 0, float32(math.NaN())),
	)
}
