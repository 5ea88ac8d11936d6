package shaders

import (
	"encoding/binary"
	"math"
	"slices"

	"patchwork/shaders/quant"
)

// MatMulQuantParams are the parameters of MatMulQuant. Leading dimensions count elements.
// M may shrink from step to step.
type MatMulQuantParams struct {
	M             Count
	N, K          uint32
	Format        uint32 // a quant.Format
	TransB        uint32
	LDA, LDC      uint32 `kernel:"layout"`
	Accumulate    uint32 // 1: c is added to
	Bias          uint32 // 1: bias [N] is added to every row
	Residual      uint32 // 1: residual, laid out as c, is added
	FullPrecision uint32 // 1: the CPU rounds neither a to 8 bits nor, unless a is in bf16, b to bf16
}

// MatMulQuant computes c = a·op(b) + bias + residual, or adds that to c, for a quantised b:
// a [M,K], op(b) [K,N], c [M,N]. With TransB, as in a forward pass, b is stored as [N,K];
// without, as for the gradient of the input, as [K,N]. Its rows, which follow each other
// without gaps, are whole blocks of a quant.Format, byte for byte as in a GGUF file.
var MatMulQuant = Declare(Decl[MatMulQuantParams]{
	Name: "matmul_quant",
	Bindings: []Binding{
		{Name: "a", Access: Read},
		{Name: "b", Type: U32, Access: Read},
		{Name: "bias", Access: Read, Optional: true},
		{Name: "residual", Access: Read, Optional: true},
		{Name: "c", Access: ReadWrite},
	},
	Variants: slices.Concat(
		perFormat("lane", matmulQuantLane), perFormat("rows", matmulQuantRows), perFormat("tile", matmulQuantTile), perFormat("", matmulQuantBlocks),
	),
	Halves: [][]string{{"a", "c"}, {"a"}},
	// As in MatMul.
	Even:      func(p MatMulQuantParams) bool { return (p.LDA|p.LDC)%2 == 0 && (p.N%2 == 0 || p.Bias == 0) },
	Axes:      matmulQuantAxes,
	CPU:       matmulQuantCPU,
	CPUNarrow: matmulQuantNarrowCPU,
	Reference: func(p MatMulQuantParams, bufs []Array) {
		a, bias, residual, c, n, k := bufs[0].F, bufs[2].F, bufs[3].F, bufs[4].F, int(p.N), int(p.K)
		b := decodeWords(quant.Format(p.Format), bufs[1].I, n*k)
		for i := range int(p.M.Max) {
			for j := range n {
				sum, y := 0.0, i*int(p.LDC)+j
				for l := range k {
					at := l*n + j
					if p.TransB != 0 {
						at = j*k + l
					}
					sum += a[i*int(p.LDA)+l] * float64(b[at])
				}
				if p.Accumulate != 0 {
					sum += c[y]
				}
				if p.Bias != 0 {
					sum += bias[j]
				}
				if p.Residual != 0 {
					sum += residual[y]
				}
				c[y] = sum
			}
		}
	},
	Cost: func(p MatMulQuantParams) Cost {
		m, n, k := float64(p.M.Max), float64(p.N), float64(p.K)
		if m == 0 {
			return Cost{} // b is not read
		}
		return Cost{Flops: 2 * m * n * k, Bytes: 4*m*(k+n) + float64(quant.Format(p.Format).Bytes(int(p.N*p.K)))}
	},
	Inputs: func(p MatMulQuantParams, _ []int) map[string]Input {
		return map[string]Input{"b": quantInput(quant.Format(p.Format), int(p.N*p.K))}
	},
	Cases: matmulQuantCases,
})

// decodeWords is n values of blocks, given as words.
func decodeWords(f quant.Format, words []int64, n int) []float32 {
	data := make([]byte, 0, 4*len(words))
	for _, w := range words {
		data = binary.LittleEndian.AppendUint32(data, uint32(w))
	}
	values := make([]float32, n)
	f.Decode(values, data)
	return values
}

// quantInput is n values in random blocks, padded to whole words.
func quantInput(f quant.Format, n int) Input {
	elements, _ := f.Block()
	data := append(quant.Random(f, n/elements, uint64(n)), 0, 0, 0)
	words := make([]uint32, len(data)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return Input{U: words}
}

// matmulQuantCase is a call on matrices without gaps between their rows.
func matmulQuantCase(p MatMulQuantParams) Case {
	f, m, n, k := quant.Format(p.Format), int(p.M.Max), int(p.N), int(p.K)
	p.LDA, p.LDC = p.K, p.N
	b := quantInput(f, n*k)
	words := make([]int64, len(b.U))
	for i, w := range b.U {
		words[i] = int64(w)
	}
	// The size of a sum of k terms: of all columns together, and of the largest one's, in
	// which the scales of a few blocks make the differences.
	squares := make([]float64, n)
	for i, v := range decodeWords(f, words, n*k) {
		j := i % n
		if p.TransB != 0 {
			j = i / k
		}
		squares[j] += float64(v) * float64(v)
	}
	var sum float64
	for _, s := range squares {
		sum += s
	}
	size, largest := math.Sqrt(sum/float64(n)), math.Sqrt(slices.Max(squares))
	// Values of at most 4 in steps of 4/127: an error of 0.01 a term, 6 standard deviations. With
	// full precision what is left is rounded to 8 bits once more.
	rounding := 0.06
	if p.FullPrecision != 0 {
		rounding /= 254
	}
	return Case{
		Params: p,
		Inputs: []Input{
			{N: m * k, Scale: 1}, b, {N: n, Scale: 1, Absent: p.Bias == 0},
			{N: m * n, Scale: 1, Absent: p.Residual == 0}, output(m*n, p.Accumulate),
		},
		// k roundings of sums, at random.
		Atol: 1e-6 * largest * max(1, math.Sqrt(float64(k))/10), Rtol: 1e-6,
		EightBitActivations: rounding * size,
	}.named("%v %dx%dx%d tb=%d add=%d bias=%d residual=%d", f, m, n, k, p.TransB, p.Accumulate, p.Bias, p.Residual)
}

func matmulQuantCases() []Case {
	var cases []Case
	for _, f := range quant.Formats {
		call := func(m Count, n, k, transB, flags int) Case {
			return matmulQuantCase(MatMulQuantParams{
				M: m, N: uint32(n), K: uint32(k), Format: uint32(f), TransB: uint32(transB),
				Accumulate: uint32(flags & 1), Bias: uint32(flags >> 1 & 1), Residual: uint32(flags >> 2),
			})
		}
		for _, s := range [][3]int{{1, 1, 256}, {1, 130, 512}, {3, 37, 768}, {9, 66, 256}, {70, 66, 256}} {
			m, n, k := s[0], s[1], s[2]
			cases = append(cases, call(N(m), n, k, 1, 0), call(N(m), k, n, 0, 0))
			if m > 1 || n == 1 {
				continue
			}
			full := matmulQuantCase(MatMulQuantParams{M: N(m), N: uint32(n), K: uint32(k), Format: uint32(f), TransB: 1, Accumulate: 1, FullPrecision: 1})
			cases = append(cases, full.named("%s full precision", full.Name))
		}
		cases = append(cases, call(N(2), 9, 256, 1, 7), call(N(20), 256, 24, 0, 7))
		if f == quant.Q4_1 { // what does not depend on the format
			for flags := 1; flags < 7; flags++ {
				cases = append(cases, call(N(2), 9, 256, 1, flags), call(N(20), 256, 24, 0, flags))
			}
			// Whole tiles, rows of many blocks, and rows beyond the fourth of a vec4.
			cases = append(cases, call(N(128), 129, 256, 1, 0), call(N(128), 256, 129, 0, 0), call(N(2), 64, 1024, 1, 0), call(N(7), 9, 256, 1, 0))
			cases = append(cases, call(N(8), 131080, 32, 1, 0)) // more than 65535 workgroups
			cases = append(cases, overCounts(20, func(m Count) Case { return call(m, 28, 256, 1, 2) })...)
			cases = append(cases, overCounts(4, func(m Count) Case { return call(m, 9, 256, 1, 0) })...)
			cases = append(cases, overCounts(36, func(m Count) Case { return call(m, 256, 28, 0, 4) })...)
		}
		if elements, _ := f.Block(); elements == 32 {
			// An odd number of blocks in a row; divided, a part that ends in the middle of a word.
			cases = append(cases, call(N(1), 257, 32, 1, 0), call(N(1), 5, 96, 1, 0), call(N(40), 65, 32, 1, 0), call(N(5), 96, 7, 0, 0))
		}
		gaps := call(N(7), 40, 256, 1, 4)
		p := gaps.Params.(MatMulQuantParams)
		p.M, p.N, p.LDA, p.LDC = N(5), 38, 256, 40
		gaps.Params, gaps.Inputs[1] = p, quantInput(f, 38*256)
		cases = append(cases, gaps.named("%v 5x38x256 with gaps between rows", f))
	}
	return cases
}

func matmulQuantCPU(h Host, p MatMulQuantParams, bufs Buffers) {
	m, n := p.M.At(h.Step()), int(p.N)
	if m == 0 {
		return
	}
	bias, residual, c, ldc := bufs.F32(2), bufs.F32(3), bufs.F32(4), int(p.LDC)
	beta := float32(p.Accumulate)
	if p.Bias != 0 || p.Residual != 0 {
		start := MatMulParams{N: p.N, LDC: p.LDC, Bias: p.Bias, Residual: p.Residual}
		matmulStart(h, start, m, beta, bias, residual, c)
		beta = 1
	}
	h.GemmQuant(GemmQuant{
		TransB: p.TransB != 0, M: m, N: n, K: int(p.K), A: bufs.F32(0), LDA: int(p.LDA),
		Format: quant.Format(p.Format), B: bufs[1], Beta: beta, C: c, LDC: ldc, FullPrecision: p.FullPrecision != 0,
	})
}

// matmulQuantNarrowCPU multiplies many rows of bf16 values by the decoded b, rounded to bf16 as well,
// where the processor multiplies these.
func matmulQuantNarrowCPU(h Host, p MatMulQuantParams, b Buffers, s Storage) bool {
	const manyRows = 32
	m, n, k := p.M.At(h.Step()), int(p.N), int(p.K)
	if p.M.Max <= manyRows || k == 0 || s.Type != BF16 || s.Bindings&1 == 0 || !h.HasBF16() {
		return false
	}
	if m == 0 {
		return true
	}
	into := MatMulParams{N: p.N, LDC: p.LDC, Beta: float32(p.Accumulate), Bias: p.Bias, Residual: p.Residual}
	matmulIntoNarrow(h, into, b, s, 0, m, n, func(c []float32, beta float32) {
		h.GemmQuant(GemmQuant{
			TransB: p.TransB != 0, M: m, N: n, K: k, ABF16: b.U16(0), LDA: int(p.LDA),
			Format: quant.Format(p.Format), B: b[1], Beta: beta, C: c, LDC: int(p.LDC),
		})
	})
	return true
}
