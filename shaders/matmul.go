package shaders

import (
	"fmt"
	"slices"
)

// MatMulParams are the parameters of MatMul. Leading dimensions and strides
// count elements. M and K may shrink from step to step.
type MatMulParams struct {
	M, K           Count
	N              uint32
	TransA, TransB uint32
	LDA, LDB, LDC  uint32 `kernel:"layout"`
	Batch          uint32
	StrideA        uint32 `kernel:"layout"` // between the matrices of a batch
	StrideB        uint32 `kernel:"layout"`
	StrideC        uint32 `kernel:"layout"`
	Alpha          float32
	Beta           float32 // 0: c is only written
	Bias           uint32  // 1: bias [N] is added to every row
	Residual       uint32  // 1: residual, laid out as c, is added
	Parts          uint32  // 2 and more: number of parts into which variants may split K, with scratch; see Split
}

// MatMul computes c = alpha·op(a)·op(b) + beta·c + bias + residual for every matrix of a
// batch: op(a) [M,K], op(b) [K,N], c [M,N], row-major. With TransA a is stored as [K,M],
// with TransB b is stored as [N,K].
var MatMul = Declare(Decl[MatMulParams]{
	Name: "matmul",
	Bindings: []Binding{
		{Name: "a", Access: Read},
		{Name: "b", Access: Read},
		{Name: "bias", Access: Read, Optional: true},
		{Name: "residual", Access: Read, Optional: true},
		{Name: "c", Access: ReadWrite},
	},
	Variants: slices.Concat(
		matmulRows(),
		matmulCoop(),
		// With 64 tiles and more, which keep the device busy.
		matmulTiles(128, 2, 8, func(p MatMulParams) bool {
			return p.M.Max >= 96 && p.N >= 96 && uint64(p.M.Max)*uint64(p.N)*uint64(p.Batch) >= 64*128*128
		}),
		matmulTiles(64, 1, 16, func(MatMulParams) bool { return true }),
		matmulLanes("lanes4", true),
		matmulLanes("lanes", false),
		matmulWide(),
		matmulBlocks("tall", 4, 2, func(p MatMulParams) bool { return p.M.Max >= 64 && p.N >= 64 && p.K.Max >= 64 }),
		matmulBlocks("", 2, 2, func(MatMulParams) bool { return true }),
	),
	Halves: [][]string{{"a", "b", "c"}, {"a", "b"}},
	// With an odd number of columns, the store of the last pair also writes the gap after
	// it.
	Even: func(p MatMulParams) bool {
		return (p.LDA|p.LDB|p.LDC|p.StrideA|p.StrideB|p.StrideC)%2 == 0 && (p.N%2 == 0 || p.Bias == 0)
	},
	Scratch:   matmulScratch,
	Axes:      matmulAxes,
	CPU:       matmulCPU,
	CPUNarrow: matmulNarrowCPU,
	Reference: func(p MatMulParams, b []Array) {
		for i := range int(p.Batch) {
			matmulReference(p, b, i*int(p.StrideA), i*int(p.StrideB), i*int(p.StrideC))
		}
	},
	Cost: func(p MatMulParams) Cost {
		m, n, k, batch := float64(p.M.Max), float64(p.N), float64(p.K.Max), float64(p.Batch)
		if m == 0 {
			return Cost{} // b is not read
		}
		return Cost{Flops: 2 * batch * m * n * k, Bytes: 4 * batch * (m*k + k*n + m*n)}
	},
	Cases: matmulCases,
})

// matmulRows are for few rows and b stored transposed, as in decoding: the cost is
// reading b once. Where rows are aligned, 16 bytes are loaded at once; by RADV 25.0.7's
// compiler ten such loads of an invocation are under way before the first is waited for.
func matmulRows() []DeclVariant[MatMulParams] {
	aligned := func(p MatMulParams, to uint32) bool {
		return p.fewRows() && p.K.Slot == 0 && (p.K.Max|p.LDA|p.LDB|p.StrideA|p.StrideB)%to == 0
	}
	grid := func(cols int) []DeclPass[MatMulParams] {
		return []DeclPass[MatMulParams]{{Grid: func(p MatMulParams) [3]uint32 {
			return gridGroups(int(p.M.Max) * chunksOf(p.N, cols) * int(p.Batch))
		}}}
	}
	lane := func(cols uint32, when func(p MatMulParams) bool) DeclVariant[MatMulParams] {
		return DeclVariant[MatMulParams]{
			Name: fmt.Sprintf("lane%d", cols), Source: "matmul_lane", Include: []string{"matmul"}, Group: 8, Vec4: []string{"a", "b"}, Consts: map[string]uint32{"COLS": cols},
			When: func(p MatMulParams, c Class) bool { return c == Software && aligned(p, 4) && when(p) }, Passes: grid(int(8 * cols)),
		}
	}
	return []DeclVariant[MatMulParams]{
		lane(4, func(p MatMulParams) bool { return p.M.Max <= 2 }),
		{
			Name: "rows4", Source: "matmul_row", Include: []string{"matmul", "matmul_terms"}, Group: 64, Unroll: 4, Vec8: []string{"a", "b"},
			Consts: map[string]uint32{"STEPS": 2},
			When:   func(p MatMulParams, c Class) bool { return c != Software && aligned(p, 8) }, Passes: grid(4),
		},
		{
			Name: "rows", Source: "matmul_row", Include: []string{"matmul", "matmul_term"}, Group: 64, Unroll: 4,
			Consts: map[string]uint32{"STEPS": 4},
			When:   func(p MatMulParams, c Class) bool { return c != Software && p.fewRows() }, Passes: grid(4),
		},
	}
}

// matmulTiles shares tiles of side rows and columns in the shared memory of a GPU's
// workgroups, which have two invocations for each row: one computes 8 rows by 4·cols
// columns. Where the layout is aligned, all loads and stores are of four values.
//
// No GPU has run it. The compilers of RADV 25.0.7 (navi31, 64 lanes) and NVK 25.0.7
// (Ampere) need no spills, scratch or local memory. Multiply-adds are their share of the
// instructions of a round of the loop over the terms, and of all of the loop, with the
// path that loads the last terms:
//
//	                navi31                        Ampere
//	                VGPRs  code  multiply-adds    registers  code   multiply-adds
//	tile64x4        96     7 KB  78%, 65%         84         26 KB  65%, 53%
//	tile64          120    8 KB  79%, 64%         98         31 KB  62%, 49%
//	tile128x4       120    6 KB  85%, 76%         112        24 KB  80%, 69%
//	tile128         120    8 KB  84%, 74%         126        30 KB  75%, 64%
//	tile128x4.split 120    7 KB  85%, 76%         115        25 KB  79%, 69%
//
// At 32 lanes navi31 issues 472 of tile128x4's 512 multiply-adds in pairs (VOPD).
func matmulTiles(side, cols, depth uint32, best func(p MatMulParams) bool) []DeclVariant[MatMulParams] {
	pitch := side/4 + 1 // in vec4: not a power of two, to avoid bank conflicts
	aligned := DeclVariant[MatMulParams]{
		Name: fmt.Sprintf("tile%dx4", side), Source: "matmul_tile", Include: []string{"matmul4", "matmul_tiles", "matmul_whole", "matmul_tile_vec4"},
		Group: 2 * side, Unroll: 16, Vec4: []string{"a", "b", "bias", "residual", "c", "scratch"},
		Consts: map[string]uint32{
			"SIDE": side, "YS": side / 8, "COLS": cols, "DEPTH": depth, "LOADS": depth / 8, "PITCH": pitch, "LINES": depth * pitch,
		},
		When: func(p MatMulParams, c Class) bool {
			return c != Software && p.vec4Aligned() && (p.N|p.LDC|p.StrideC)%4 == 0
		},
		ByTuning: func(p MatMulParams) bool { return !best(p) },
		Passes:   matmulGrid(int(side), int(side)),
	}
	any := aligned
	any.Name = fmt.Sprintf("tile%d", side)
	any.Include = []string{"matmul4", "matmul_tiles", "matmul_whole", "matmul_tile_vec"}
	any.Vec4 = []string{"scratch"}
	any.When = func(_ MatMulParams, c Class) bool { return c != Software }
	if side == splitSide {
		return []DeclVariant[MatMulParams]{splitTile(aligned), splitTile(any), aligned, any}
	}
	return []DeclVariant[MatMulParams]{aligned, any}
}

// matmulLanes computes 32 rows and columns in a workgroup that is one subgroup, whose
// invocations shuffle what they load to each other; with vec4 loads where the layout is
// aligned.
//
// llvmpipe (Mesa 22.3) loads memory in a loop over its 8 lanes, with a mask, and executes
// what all lanes skip. On a busy machine, variants interleaved, this one ran at 3.2 times
// the speed of blocks of 16×8 with scalar loads; vec4 loads without subgroups, which
// WebGPU's library lacks, at 1.8 times.
func matmulLanes(name string, vec4 bool) []DeclVariant[MatMulParams] {
	v := DeclVariant[MatMulParams]{
		Name: name, Source: "matmul_lanes", Include: []string{"matmul", "matmul_blocks", "lanes"}, Group: 8,
		When: func(p MatMulParams, c Class) bool {
			return c == Software && p.M.Max >= 24 && p.N >= 24 && (!vec4 || p.vec4Aligned())
		},
		Passes: matmulGrid(32, 32),
	}
	if vec4 {
		v.Vec4 = []string{"a", "b"}
	}
	return []DeclVariant[MatMulParams]{v}
}

// matmulWide computes 16 rows by 8 columns in an invocation, with vec4 loads where the
// layout is aligned.
func matmulWide() []DeclVariant[MatMulParams] {
	return []DeclVariant[MatMulParams]{{
		Name: "wide4", Source: "matmul_wide", Include: []string{"matmul", "matmul_blocks"}, Vec4: []string{"a", "b"},
		Consts: map[string]uint32{"ROWS": 4, "COLS": 2, "RESULTS": 16*4*2 + 1},
		When: func(p MatMulParams, c Class) bool {
			return c == Software && p.M.Max >= 8 && p.N >= 8 && p.vec4Aligned()
		},
		Passes: matmulGrid(16, 64),
	}}
}

// vec4Aligned reports whether every row of a and b, as stored, consists of aligned groups
// of four values.
func (p MatMulParams) vec4Aligned() bool { return p.alignmentBits()%4 == 0 }

// alignmentBits is divisible by a power of two if all row lengths, leading dimensions and
// strides of a and b, as stored, are.
func (p MatMulParams) alignmentBits() uint32 {
	rows, cols := p.K.Max, p.N
	if p.TransA != 0 {
		rows = p.M.Max
	}
	if p.TransB != 0 {
		cols = p.K.Max
	}
	return rows | cols | p.LDA | p.LDB | p.StrideA | p.StrideB
}

// matmulGrid is a workgroup for every tile of rows by cols of c.
func matmulGrid(rows, cols int) []DeclPass[MatMulParams] {
	return []DeclPass[MatMulParams]{{Grid: func(p MatMulParams) [3]uint32 {
		return gridGroups(chunksOf(p.M.Max, rows) * chunksOf(p.N, cols) * int(p.Batch))
	}}}
}

// matmulBlocks computes 4·rows by 4·cols values in an invocation, without shared memory:
// a software rasteriser reads memory one lane at a time, so that the number of loads per
// multiply-add determines its speed.
func matmulBlocks(name string, rows, cols uint32, when func(p MatMulParams) bool) []DeclVariant[MatMulParams] {
	return []DeclVariant[MatMulParams]{{
		Name: name, Include: []string{"matmul"},
		Consts: map[string]uint32{"ROWS": rows, "COLS": cols, "RESULTS": 16*rows*cols + 1},
		When:   func(p MatMulParams, _ Class) bool { return when(p) },
		Passes: matmulGrid(int(4*rows), int(32*cols)),
	}}
}

func matmulReference(p MatMulParams, bufs []Array, atA, atB, atC int) {
	a, b, bias, residual, c := bufs[0].F[atA:], bufs[1].F[atB:], bufs[2].F, bufs[3].F, bufs[4].F[atC:]
	at := func(row, col, ld int, trans uint32) int {
		if trans != 0 {
			row, col = col, row
		}
		return row*ld + col
	}
	for i := range int(p.M.Max) {
		for j := range int(p.N) {
			sum, y := 0.0, i*int(p.LDC)+j
			for k := range int(p.K.Max) {
				sum += a[at(i, k, int(p.LDA), p.TransA)] * b[at(k, j, int(p.LDB), p.TransB)]
			}
			sum *= float64(p.Alpha)
			if p.Beta != 0 {
				sum += float64(p.Beta) * c[y]
			}
			if p.Bias != 0 {
				sum += bias[j]
			}
			if p.Residual != 0 {
				sum += residual[atC+y]
			}
			c[y] = sum
		}
	}
}

// matmulCase is a call on matrices without gaps between their rows.
func matmulCase(p MatMulParams) Case {
	m, n, k := int(p.M.Max), int(p.N), int(p.K.Max)
	p.LDA, p.LDB, p.LDC = uint32(k), uint32(n), uint32(n)
	if p.TransA != 0 {
		p.LDA = uint32(m)
	}
	if p.TransB != 0 {
		p.LDB = uint32(k)
	}
	p.Batch = max(p.Batch, 1)
	batch := int(p.Batch)
	p.StrideA, p.StrideB, p.StrideC = uint32(m*k), uint32(k*n), uint32(m*n)
	return Case{
		Params: p,
		Inputs: []Input{
			{N: batch * m * k, Scale: 1}, {N: batch * k * n, Scale: 1}, {N: n, Scale: 1, Absent: p.Bias == 0},
			{N: batch * m * n, Scale: 1, Absent: p.Residual == 0}, output(batch*m*n, Flag(p.Beta != 0)),
		},
		// k roundings of sums of size √k, at random.
		Atol: 1e-6 * max(1, float64(k)/10), Rtol: 1e-6,
	}.named("%dx%dx%d ta=%d tb=%d batch=%d alpha=%g beta=%g bias=%d residual=%d",
		m, n, k, p.TransA, p.TransB, batch, p.Alpha, p.Beta, p.Bias, p.Residual)
}

func matmulCases() []Case {
	var cases []Case
	for trans := range uint32(4) {
		call := func(m, k Count, n, batch int, beta float32, bias, residual uint32) Case {
			return matmulCase(MatMulParams{
				M: m, N: uint32(n), K: k, TransA: trans & 1, TransB: trans >> 1,
				Batch: uint32(batch), Alpha: 1, Beta: beta, Bias: bias, Residual: residual,
			})
		}
		for _, s := range [][3]int{{1, 1, 1}, {1, 49, 33}, {3, 5, 7}, {8, 64, 64}, {9, 65, 66}, {64, 64, 16}, {64, 128, 64}, {64, 66, 66}, {128, 192, 96}, {33, 129, 65}, {2, 300, 1031}, {2, 64, 8}, {132, 20, 8}, {1, 130, 64}, {4, 37, 576}, {2, 6, 1096}} {
			cases = append(cases, call(N(s[0]), N(s[2]), s[1], 1, 0, 0, 0))
		}
		cases = append(cases, overCounts(20, func(m Count) Case { return call(m, N(24), 28, 1, 0, 1, 0) })...)
		cases = append(cases, overCounts(4, func(m Count) Case { return call(m, N(64), 9, 1, 0, 1, 0) })...)
		cases = append(cases, overCounts(20, func(k Count) Case { return call(N(12), k, 28, 1, 0, 0, 0) })...)
		cases = append(cases, overCounts(36, func(m Count) Case { return call(m, N(20), 28, 2, 0, 0, 1) })...)
		cases = append(cases, overCounts(20, func(k Count) Case { return call(N(36), k, 28, 1, 0.5, 1, 0) })...)
		// Parts of aligned groups of four.
		cases = append(cases, atCounts(28, []int{9, 11}, func(k Count) Case { return call(N(36), k, 28, 1, 0, 0, 0) })...)
		cases = append(cases, atCounts(28, []int{9, 11}, func(m Count) Case { return call(m, N(24), 28, 1, 0, 0, 0) })...)
		// Several tiles of cooperative matrices, the last ones partial.
		cases = append(cases, call(N(200), N(72), 72, 1, 0, 1, 0), call(N(72), N(40), 200, 1, 0, 0, 0))
		cases = append(cases, overCounts(40, func(m Count) Case { return call(m, N(24), 72, 2, 0, 0, 0) })...)
		cases = append(cases, overCounts(40, func(k Count) Case { return call(N(24), k, 72, 1, 0, 0, 0) })...)
		cases = append(cases,
			// Enough matrices that a stride that is off by 1 shows with vec4 loads, whose
			// index is rounded down.
			call(N(2), N(8), 9, 6, 0, 0, 0), call(N(24), N(8), 24, 6, 0, 0, 0), call(N(2), N(8), 12, 3, 0, 0, 0),
			call(N(2), N(68), 33, 3, 0.5, 1, 1),
			call(N(9), N(17), 33, 3, 0, 0, 0), call(N(16), N(32), 64, 2, 0.5, 0, 0),
			call(N(9), N(17), 33, 1, 1, 1, 1), call(N(64), N(32), 128, 1, 2, 1, 1), call(N(5), N(8), 68, 1, 0, 1, 0))
		// Alpha multiplies the matmul, not the residual.
		for _, s := range [][3]int{{1, 9, 8}, {9, 33, 17}, {24, 28, 24}, {96, 96, 96}, {96, 256, 96}} {
			cases = append(cases, matmulCase(MatMulParams{
				M: N(s[0]), N: uint32(s[1]), K: N(s[2]), TransA: trans & 1, TransB: trans >> 1, Alpha: -0.5, Residual: 1,
			}))
		}
		cases = append(cases, matmulSplitCases(call)...)
		// Odd rows and depth between even leading dimensions, in several tiles.
		gaps := call(N(70), N(12), 74, 1, 0, 0, 0)
		p := gaps.Params.(MatMulParams)
		p.M, p.N, p.K = N(69), 70, N(11)
		gaps.Params = p
		cases = append(cases, gaps.named("69x70x11 with gaps between rows, ta=%d tb=%d", p.TransA, p.TransB))
	}
	wide := matmulCase(MatMulParams{M: N(130), N: 65600, K: N(2), Alpha: 0.5, TransB: 1, Bias: 1})
	high := matmulCase(MatMulParams{M: N(2100), N: 520, K: N(8), Alpha: 1, Beta: 0.5}) // several bands of tiles
	long := matmulCase(MatMulParams{M: N(3), N: 5, K: N(20000), Alpha: 1})
	broad := matmulCase(MatMulParams{M: N(1030), N: 1025, K: N(3), Alpha: 2, TransA: 1}) // many tiles
	// Beyond 65535 workgroups: in rows, and as a batch.
	rows := matmulCase(MatMulParams{M: N(4), N: 65540, K: N(4), Alpha: 1, TransB: 1})
	many := matmulCase(MatMulParams{M: N(1), N: 1, K: N(4), TransB: 1, Alpha: 1, Batch: 65537})
	many.Long = true
	sums := matmulCase(MatMulParams{M: N(65537), N: 4, K: N(4), Alpha: 1, Parts: 2}).named("65537x4x4 in 2 parts")
	gaps := matmulCase(MatMulParams{M: N(7), N: 8, K: N(4), Alpha: 1})
	whole := matmulCase(MatMulParams{M: N(128), N: 256, K: N(128), Alpha: 1, TransB: 1}) // of the largest tiles
	p := gaps.Params.(MatMulParams)
	p.LDA, p.LDB, p.LDC, p.M, p.N, p.K = 4, 8, 8, N(5), 6, N(3)
	gaps.Params = p
	return append(cases, wide, broad, high, long, rows, many, sums, whole, gaps.named("with gaps between rows"))
}

func matmulCPU(h Host, p MatMulParams, bufs Buffers) {
	a, b, bias, residual, c := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4)
	m, n, k := p.M.At(h.Step()), int(p.N), p.K.At(h.Step())
	if m == 0 {
		return
	}
	for i := range int(p.Batch) {
		c := c[i*int(p.StrideC):]
		beta := p.Beta
		if p.Bias != 0 || p.Residual != 0 {
			matmulStart(h, p, m, beta, bias, residual[min(i*int(p.StrideC), len(residual)):], c)
			beta = 1
		}
		h.Gemm(Gemm{
			TransA: p.TransA != 0, TransB: p.TransB != 0, M: m, N: n, K: k, Alpha: p.Alpha, Beta: beta,
			A: a[i*int(p.StrideA):], LDA: int(p.LDA), B: b[i*int(p.StrideB):], LDB: int(p.LDB), C: c, LDC: int(p.LDC),
		})
	}
}

// matmulStart writes beta·c + bias + residual to c, to which the matmul is added.
func matmulStart(h Host, p MatMulParams, m int, beta float32, bias, residual, c []float32) {
	n, ldc := int(p.N), int(p.LDC)
	h.Parallel(m, rowGrain(n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := c[r*ldc:][:n]
			switch beta {
			case 0:
				clear(row)
			case 1:
			default:
				for j := range row {
					row[j] *= beta
				}
			}
			if p.Bias != 0 {
				addTo(row, bias)
			}
			if p.Residual != 0 {
				addTo(row, residual[r*ldc:])
			}
		}
	})
}
