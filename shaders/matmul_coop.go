package shaders

import (
	"fmt"
)

// coopTile is what a workgroup of a cooperative variant computes: a tile of c, depth
// terms at a time.
type coopTile struct {
	rows, cols, depth uint32
	down, across      uint32 // matrices of a subgroup
	stages            uint32 // tiles in shared memory
	narrow            bool   // see Cooperative.Narrow
	invocations       uint32 // where the tile is one matrix of the workgroup
	perProcessor      uint32 // workgroups resident on a processor, for comparisons
}

// processors of a large GPU, for estimates.
const processors = 132

// The tiles that are compared with each other, or used whole and split.
var (
	squareTile = coopTile{rows: 128, cols: 128, depth: 32, down: 4, across: 4, stages: 2, narrow: true, perProcessor: 2}
	eightTile  = coopTile{rows: 128, cols: 128, depth: 32, down: 4, across: 2, stages: 1, perProcessor: 2}
	narrowTile = coopTile{rows: 128, cols: 64, depth: 32, down: 4, across: 2, stages: 1, perProcessor: 3}
	smallTile  = coopTile{rows: 64, cols: 64, depth: 32, down: 2, across: 2, stages: 1, perProcessor: 5}
	heldTile   = coopTile{rows: 128, cols: 128, depth: 64, invocations: 256}
)

// matmulCoop are the variants for devices with cooperative matrices, with a and b of 16
// bits. Measure them with vlmtool bench kernels --variants; the following are estimates
// for an H100 (132 processors of 4096 FLOP and 128 bytes of shared memory a cycle, 64 Ki
// registers, 227 KiB of shared memory), none of them measured. A subgroup multiplies by
// mma.sync there, whose limit is some 63% of the peak.
//
//	                      shared    sums per    workgroups   FLOP per     bound, of
//	                      memory    invocation  a processor  shared byte  the peak
//	coopmat1.128x128      40 KiB    128         2            21           63%, mma.sync
//	coopmat1.128x128.x8   20 KiB    64          2            16           50%, shared memory
//	coopmat1.128x64       15 KiB    64          3            14           44%, shared memory
//	coopmat1.64x64        10 KiB    32          5            11           33%, shared memory
//	coopmat1.32x64        10 KiB    16          6            7            22%, shared memory
//	coopmat2.128x256      driver's  128         1            driver's     not known
//	coopmat2.128x128      driver's  64          1 or 2       driver's     not known
//	coopmat2.64x64        driver's  32          5            driver's     not known
//
// FLOP per shared byte are 2·rows·cols per term against the bytes that the workgroup
// stores, 2·(rows+cols), and that its subgroups read, 2·(rows+cols) of their parts each.
// On AMD's RDNA3 shared memory is no bound, but a subgroup with 64×64 sums leaves few
// registers for others: such devices prefer the form with eight subgroups. What Mesa's
// compiler (ACO 25.0, navi31, f16, TransB) makes of them at 32 and at 64 invocations a
// subgroup, none with spills or scratch; cycles are its inverse throughput times
// invocations/64, per 128·128·32 multiplications, where ggml's 128×128 has 38520 and 38900
// at 10 and 12 waves, its 64×64 41712 and 41720 at 10 and 12:
//
//	                      VGPRs      waves    cycles
//	coopmat1.128x128      240  144   4   8    34090  32480
//	coopmat1.128x128.x8   144  108   10  14   22108  28168
//	coopmat1.128x64       168  108   9   14   22844  26512
//	coopmat1.64x64        120  84    12  18   24288  28512
//	coopmat1.32x64        72   60    13  24   27184  34208
//
// Workgroups per processor assume sums + 70 registers: fragments, loads in flight,
// addresses. A variant's ".split" is the same, but its workgroups end by writing 4 bytes of scratch for every sum: see MatMulParams.Split. Its
// second pass reads each once, and is bound by that. Whether the driver uses that many
// registers, and whether it compiles coopmat2 to wgmma, is not documented.
//
// The variants of coopmat2 have run on no device yet: no software device has their
// features. Emulated in plain GLSL with the same tiles (engine/conformance/emulation)
// they pass. Only tuning chooses them, and it compares their results.
//
// coopmat1 passes the conformance suite in f16 on Mesa 26's lavapipe, whose matrices are
// 8×8×8; variants that need more than its 32 KiB of shared memory passed with the limit
// ignored. The bf16 modules have the same text with another type; they are validated, and
// have run on no device yet.
func matmulCoop() []DeclVariant[MatMulParams] {
	return []DeclVariant[MatMulParams]{
		coopTile{rows: 128, cols: 256, depth: 64, invocations: 256}.workgroup(),
		heldTile.workgroup(),
		heldTile.splitCoop(heldTile.workgroup()),
		coopTile{rows: 64, cols: 64, depth: 64, invocations: 128}.workgroup(),
		squareTile.splitCoop(squareTile.subgroups("", coopTile.half)),
		eightTile.splitCoop(eightTile.subgroups(".x8", coopTile.half)),
		smallTile.splitCoop(smallTile.subgroups("", always)),
		squareTile.subgroups("", coopTile.square),
		eightTile.subgroups(".x8", coopTile.square),
		narrowTile.subgroups("", coopTile.enough),
		smallTile.subgroups("", func(t coopTile, p MatMulParams) bool { return p.M.Max > t.rows/2 }),
		coopTile{rows: 32, cols: 64, depth: 32, down: 1, across: 2, stages: 1}.subgroups("", always),
		smallTile.subgroups(".pairs", always),
	}
}

func always(coopTile, MatMulParams) bool { return true }

// half reports whether a call fills more than half of a tile.
func (t coopTile) half(p MatMulParams) bool { return p.M.Max > t.rows/2 && p.N > t.cols/2 }

// enough reports whether there are enough tiles to keep half of a large GPU busy.
func (t coopTile) enough(p MatMulParams) bool {
	return t.half(p) && uint64(p.M.Max)*uint64(p.N)*uint64(p.Batch) >= 64*uint64(t.rows)*uint64(t.cols)
}

// square reports whether a square tile is better than a narrow one of the same estimated
// speed: it reads less, unless it leaves processors idle.
func (t coopTile) square(p MatMulParams) bool {
	return t.enough(p) && 5*narrowTile.filled(p) < 6*squareTile.filled(p)
}

// filled is the fraction of the tiles of a large GPU, over all waves of workgroups, that
// are results.
func (t coopTile) filled(p MatMulParams) float64 {
	slots := int(t.perProcessor) * processors
	groups := chunksOf(p.M.Max, int(t.rows)) * chunksOf(p.N, int(t.cols)) * int(p.Batch)
	waves := (groups + slots - 1) / slots
	return float64(p.M.Max) * float64(p.N) * float64(p.Batch) / float64(waves*slots*int(t.rows*t.cols))
}

// subgroups is the variant whose subgroups use the device's matrices. It loads eight
// values at once, or two: ".pairs". For calls where best is false, only tuning chooses
// it.
func (t coopTile) subgroups(kind string, best func(t coopTile, p MatMulParams) bool) DeclVariant[MatMulParams] {
	wide := Flag(kind != ".pairs")
	coop := &Cooperative{Scope: ScopeSubgroup, Rows: t.rows, Cols: t.cols, Depth: t.depth, Down: t.down, Across: t.across, Narrow: t.narrow}
	return DeclVariant[MatMulParams]{
		Name: fmt.Sprintf("coopmat1.%dx%d%s", t.rows, t.cols, kind), Source: "matmul_coop", Include: []string{"matmul", "matmul_tiles", "matmul_whole"}, Cooperative: coop,
		Consts: map[string]uint32{"BM": t.rows, "BN": t.cols, "BK": t.depth, "DOWN": t.down, "ACROSS": t.across, "STAGES": t.stages, "WIDE": wide},
		When: func(p MatMulParams, c Class) bool {
			return c != Software && (wide == 0 || p.vec8Aligned())
		},
		ByTuning: func(p MatMulParams) bool { return !best(t, p) },
		Specialize: func(p MatMulParams, target DeviceCaps, s Storage) []uint32 {
			return append(coop.specialize(target, s.Type), p.TransA, p.TransB)
		},
		Passes: matmulGrid(int(t.rows), int(t.cols)),
	}
}

// workgroup is the variant in which the tile is one matrix of the workgroup.
func (t coopTile) workgroup() DeclVariant[MatMulParams] {
	return DeclVariant[MatMulParams]{
		Name: fmt.Sprintf("coopmat2.%dx%d", t.rows, t.cols), Source: "matmul_coop2", Include: []string{"matmul_tiles", "matmul_whole"},
		Cooperative: &Cooperative{
			Scope: ScopeWorkgroup, Rows: t.rows, Cols: t.cols, Depth: t.depth, Invocations: t.invocations,
			Features: []string{FeatureMatrixElements},
		},
		Consts:   map[string]uint32{"BM": t.rows, "BN": t.cols, "BK": t.depth, "INVOCATIONS": t.invocations},
		When:     func(_ MatMulParams, c Class) bool { return c != Software },
		ByTuning: func(MatMulParams) bool { return true },
		Specialize: func(p MatMulParams, _ DeviceCaps, _ Storage) []uint32 {
			return []uint32{p.TransA, p.TransB, Flag((p.LDA|p.LDB|p.StrideA|p.StrideB)%8 == 0)}
		},
		Passes: matmulGrid(int(t.rows), int(t.cols)),
	}
}

// vec8Aligned reports whether every row of a and b, as stored, consists of aligned groups
// of eight values.
func (p MatMulParams) vec8Aligned() bool { return p.alignmentBits()%8 == 0 }
