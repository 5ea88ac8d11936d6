package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// RMSNormLinearParams are the parameters of RMSNormLinear.
type RMSNormLinearParams struct {
	Rows       uint32
	N, K       uint32
	LD         uint32 `kernel:"layout"` // elements from one row of y to the next
	Gated      uint32 // 1: y is SwiGLU of h·wᵀ and h·upᵀ; 0: up is not read
	Eps        float32
	Activation uint32 // of the gate, as SwiGLUParams'
}

// RMSNormLinear computes y = h·wᵀ for the few rows of generation, where h is RMSNorm of x
// [Rows,K] by gain [K]: w [N,K], y [Rows,N]. Gated, with up [N,K], it is the first half
// of an MLP, y = silu(h·wᵀ)·(h·upᵀ). On a fast GPU a dependent dispatch costs more than
// reading x once more in every workgroup.
//
// With it a token of SmolLM2-135M takes 183 dispatches instead of 275. On the CPU and on
// a software device it normalises the rows first. It is for up to 4 rows, without
// gradients and biases. Estimated, not measured: at 3 to 5 µs per dispatch a token of
// 135M in bf16 waits 0.6 to 0.9 ms on a fast GPU, whose memory reads the weights in 0.06 ms.
var RMSNormLinear = Declare(Decl[RMSNormLinearParams]{
	Name: "rmsnorm_linear",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "gain", Access: Read},
		{Name: "w", Access: Read},
		{Name: "up", Access: Read},
		{Name: "y", Access: Write},
	},
	Include: []string{"exp", "exp_vec", "gelu", "glu", "rmsnorm_linear"},
	Variants: []DeclVariant[RMSNormLinearParams]{
		{
			// On a software device, where reads are sequential, h is computed before.
			// Both matmuls loop 2.5·K times together, where nothing is unrolled.
			Name: "lane4", Source: "rmsnorm_linear_lane", Include: []string{"group"}, Group: 8, Consts: map[string]uint32{"COLS": 4},
			Vec4: []string{"x", "gain", "w", "up", "scratch"},
			When: func(p RMSNormLinearParams, c Class) bool {
				return c == Software && p.K%4 == 0 && p.K <= llvmpipeLoopLimit/4
			},
			Passes: []DeclPass[RMSNormLinearParams]{
				{Entry: "norm", Grid: func(p RMSNormLinearParams) [3]uint32 { return gridGroups(int(p.Rows)) }},
				{Grid: func(p RMSNormLinearParams) [3]uint32 { return gridGroups(int(p.Rows) * chunksOf(p.N, 8*4)) }},
			},
		},
		{
			// 4 columns of a row in each of a GPU's workgroups. By RADV 25.0.7's compiler
			// 16 loads of 16 bytes are under way before the first is waited for, gated 20,
			// with 16-bit weights 24.
			Name: "rows4", Source: "rmsnorm_linear_row", Include: []string{"rmsnorm_linear_terms"}, Group: 64, Unroll: 4,
			Vec4: []string{"x", "gain"}, Vec8: []string{"w", "up"}, Consts: map[string]uint32{"STEPS": 2},
			When:   func(p RMSNormLinearParams, _ Class) bool { return p.K%8 == 0 },
			Passes: rmsNormLinearGrid,
		},
		{Group: 64, Passes: rmsNormLinearGrid},
	},
	Halves: [][]string{{"w", "up"}, {"w", "up", "y"}},
	// With an odd number of columns, the store of the last pair also writes the gap after
	// it.
	Even:    func(p RMSNormLinearParams) bool { return (p.K|p.LD)%2 == 0 },
	Scratch: func(p RMSNormLinearParams) int64 { return 4 * int64(p.Rows) * int64(p.K) },
	Axes: func(p RMSNormLinearParams) []Axis {
		return []Axis{{p.N, map[string]Span{"w": alongRows(p.K), "up": alongRows(p.K), "y": alongCols(p.Rows, p.LD)}, func(_, n uint32) any {
			part := p
			part.N = n
			return part
		}}}
	},
	CPU:       rmsNormLinearCPU,
	CPUNarrow: rmsNormLinearNarrowCPU,
	Reference: func(p RMSNormLinearParams, b []Array) {
		x, gain, w, up, y, n, k := b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, int(p.N), int(p.K)
		for r := range int(p.Rows) {
			row, square := x[r*k:][:k], 0.0
			for _, v := range row {
				square += v * v / float64(k)
			}
			rstd := 1 / math.Sqrt(square+float64(p.Eps))
			matmul := func(w []float64) (sum float64) {
				for i, v := range row {
					sum += v * rstd * gain[i] * w[i]
				}
				return sum
			}
			for c := range n {
				v := matmul(w[c*k:])
				if p.Gated != 0 {
					v, _ = gatedUnitAt(p.Activation, v)
					v *= matmul(up[c*k:])
				}
				y[r*int(p.LD)+c] = v
			}
		}
	},
	Cost: func(p RMSNormLinearParams) Cost {
		rows, n, k, matrices := float64(p.Rows), float64(p.N), float64(p.K), float64(1+p.Gated)
		return Cost{Flops: rows * k * (2*matrices*n + 4), Bytes: 4 * (matrices*n*k + rows*k + k + rows*n)}
	},
	Cases: rmsNormLinearCases,
})

// rmsNormLinearGrid is a workgroup for every 4 columns of a row.
var rmsNormLinearGrid = []DeclPass[RMSNormLinearParams]{{Grid: func(p RMSNormLinearParams) [3]uint32 {
	return gridGroups(int(p.Rows) * chunksOf(p.N, 4))
}}}

func rmsNormLinearCases() []Case {
	var cases []Case
	for gated := range uint32(2) {
		call := func(rows, n, k, ld int, x Input) Case {
			w := Input{N: n * k, Scale: 1 / math.Sqrt(float64(k))}
			return Case{
				Params: RMSNormLinearParams{Rows: uint32(rows), N: uint32(n), K: uint32(k), LD: uint32(ld), Gated: gated, Eps: 1e-6},
				Inputs: []Input{x, {N: k, Scale: 1}, w, w, {N: rows * ld}},
				// Sums of k terms of size 1: the roundings of a matmul and of RMSNorm.
				Atol: 1e-6 * max(1, math.Sqrt(float64(k))/10), Rtol: 4e-6,
			}.named("%dx%dx%d gated=%d", rows, n, k, gated)
		}
		for _, s := range [][3]int{
			{1, 1, 1}, {1, 49, 33}, {3, 5, 7}, {1, 64, 64}, {2, 66, 66}, {1, 96, 96}, {4, 37, 576}, {2, 300, 1030}, {1, 65, 260}, {3, 34, 1028}, {1, 32, 20}, {4, 1, 8}, {2, 300, 64}, {2, 6, 1096},
		} {
			cases = append(cases, call(s[0], s[1], s[2], s[1], Input{N: s[0] * s[2], Scale: 1}))
		}
		for _, scale := range []float64{1e5, 1e-4, 0} {
			cases = append(cases, call(2, 36, 64, 36, Input{N: 2 * 64, Scale: scale}).named("x of %g, gated=%d", scale, gated))
		}
		cases = append(cases, call(3, 10, 20, 16, Input{N: 3 * 20, Scale: 1}).named("with gaps between rows, gated=%d", gated))
	}
	for _, s := range [][3]int{{1, 49, 33}, {4, 37, 576}, {2, 300, 64}} {
		n, k := s[1], s[2]
		w := Input{N: n * k, Scale: 1 / math.Sqrt(float64(k))}
		cases = append(cases, Case{
			Params: RMSNormLinearParams{Rows: uint32(s[0]), N: uint32(n), K: uint32(k), LD: uint32(n), Gated: 1, Eps: 1e-6, Activation: GELUTanh},
			Inputs: []Input{{N: s[0] * k, Scale: 1}, {N: k, Scale: 1}, w, w, {N: s[0] * n}},
			Atol:   2e-6 * max(1, math.Sqrt(float64(k))/10), Rtol: 1e-5, // as above, and GELU's
		}.named("%dx%dx%d, GELU", s[0], n, k))
	}
	many := func(rows, n, k int) Case {
		return Case{
			Params: RMSNormLinearParams{Rows: uint32(rows), N: uint32(n), K: uint32(k), LD: uint32(n), Eps: 1e-6},
			Inputs: []Input{{N: rows * k, Scale: 1}, {N: k, Scale: 1}, {N: n * k, Scale: 1}, {N: n * k, Scale: 1}, {N: rows * n}},
			Atol:   1e-6, Rtol: 4e-6,
		}.named("%dx%dx%d", rows, n, k)
	}
	// Beyond 65535 workgroups: in columns, in blocks of them, and in rows.
	return append(cases, many(4, 65540, 4), many(65537, 2, 4), many(65537, 2, 3))
}

// rmsNormLinearCPU is the form for weights of 32 bits.
func rmsNormLinearCPU(h Host, p RMSNormLinearParams, b Buffers) {
	n, k, y := int(p.N), int(p.K), b.F32(4)
	p.onCPU(h, b, func(binding int, a []float32, lo, hi int, c []float32) {
		h.GemmSerial(Gemm{TransB: true, M: int(p.Rows), N: hi - lo, K: k, Alpha: 1, A: a, LDA: k, B: b.F32(binding)[lo*k:], LDB: k, C: c, LDC: n})
	}, func(at int, row []float32) { copy(y[at:], row) })
}

// rmsNormLinearNarrowCPU is the form for weights of 16 bits, which are read without
// conversion in memory.
func rmsNormLinearNarrowCPU(h Host, p RMSNormLinearParams, b Buffers, s Storage) bool {
	rows, n, k, format := int(p.Rows), int(p.N), int(p.K), s.Type.Format()
	kernels := simd.NarrowDots(format)
	if rows > narrowRows || k%16 != 0 || k == 0 || kernels == nil {
		return false
	}
	p.onCPU(h, b, func(binding int, a []float32, lo, hi int, c []float32) {
		narrowMatmul(kernels, rows, k, a, b.U16(binding)[lo*k:], k, hi-lo, c, n, 1, 0)
	}, func(at int, row []float32) {
		if s.Bindings>>4&1 != 0 {
			simd.Pack(format, b.U16(4)[at:][:len(row)], row)
			return
		}
		copy(b.F32(4)[at:], row)
	})
	return true
}

// onCPU normalises the rows, then computes chunks of the columns: matmul multiplies the
// rows of a by rows [lo,hi) of a binding into c, with leading dimension N; put stores
// elements of y from one on.
func (p RMSNormLinearParams) onCPU(h Host, b Buffers, matmul func(binding int, a []float32, lo, hi int, c []float32), put func(at int, row []float32)) {
	rows, n, k := int(p.Rows), int(p.N), int(p.K)
	x, gain := b.F32(0), b.F32(1)
	a, release := h.Scratch(rows * k)
	defer release()
	for r := range rows {
		row := x[r*k:][:k]
		simd.RMSNorm(a[r*k:][:k], row, gain[:k], float32(1/math.Sqrt(simd.SumSquares(row)/float64(k)+float64(p.Eps))))
	}
	sums, release := h.Scratch(rows * n * int(1+p.Gated))
	defer release()
	h.Parallel(n, max(1, narrowGrain/max(rows*k, 1)), func(lo, hi int) {
		matmul(2, a, lo, hi, sums[lo:])
		if p.Gated != 0 {
			matmul(3, a, lo, hi, sums[rows*n+lo:])
		}
		for r := range rows {
			row := sums[r*n:][lo:hi]
			if p.Gated != 0 {
				gatedUnit(p.Activation, row, row, sums[(rows+r)*n:][lo:hi])
			}
			put(r*int(p.LD)+lo, row)
		}
	})
}
