package shaders

// attentionCoop are the forward variants for devices with cooperative matrices, with q,
// k, v and y of 16 bits: heads of up to 64 and of up to 128 columns. Estimates for an H100
// (see matmulCoop), none of them measured. FLOP per shared byte are those of a tile of
// keys relative to what the workgroup stores and its subgroups load for it (queries, keys,
// values and weights; a number that a whole row loads counts once); 32 would reach the
// peak.
//
//	                    queries ×   shared   sums, scores   FLOP per     bound, of
//	                    keys        memory   an invocation  shared byte  the peak
//	coopmat1.d64        128 × 48    43 KiB   64 + 48        15.3         48%, shared memory
//	coopmat1.d64.hold   128 × 32    32 KiB   64 + 32        18.1         57%, shared memory
//	coopmat1.d64.x16    64 × 64     29 KiB   32 + 32        10.6         33%, shared memory
//	coopmat1.d128       64 × 48     39 KiB   128 + 48       15.3         48%, shared memory
//	coopmat1.d128.x16   64 × 64     45 KiB   64 + 32        10.7         33%, shared memory
//
// Of the first and the fourth, 128 and 64 invocations with at most 255 registers each: two
// and four workgroups a processor. The forms x16 have 16 queries a subgroup, half the
// registers and twice the subgroups, for devices whose shared memory is faster relative
// to their matrices: AMD's. What Mesa's compiler makes of them at 32 and at 64 invocations
// a subgroup (as in matmulCoop); cycles are for 1000 pairs of a query and a key of a tile,
// where ggml's flash_attn_cm1 has 16.9 and 20.1 for 64 columns at 5 and 10 waves, 35.8
// and 31.9 for 128 at 4 and 6:
//
//	                    VGPRs      spilled  waves    cycles
//	coopmat1.d64        256  256   0   0    3   4    7.5   9.0
//	coopmat1.d64.hold   256  252   58  0    4   6    6.5   8.2
//	coopmat1.d64.x16    256  252   0   0    5   6    4.8   7.2
//	coopmat1.d128       256  256   0   0    2   4    15.5  17.9
//	coopmat1.d128.x16   256  256   0   0    3   4    12.4  13.8
//
// The form hold is for tuning only: AMD has two copies of the queries that it holds. The
// compiler uses all the registers that the number of waves leaves, which shared memory
// bounds.
func attentionCoop() []DeclVariant[AttentionParams] {
	variant := func(name string, f attentionForm, best bool) DeclVariant[AttentionParams] {
		coop := &Cooperative{Scope: ScopeSubgroup, Rows: f.queries, Cols: 16 * f.keys, Depth: 16, Down: f.down, Narrow: f.narrow, Rounds: true}
		consts := map[string]uint32{
			"COLUMNS": f.columns, "CHUNKS": f.columns / 32,
			"QUERIES": f.queries, "DOWN": f.down, "KEYS": 16 * f.keys, "HOLD": Flag(f.hold), "TURNS": Flag(f.turns), "ROLLED": Flag(f.rolled),
		}
		if f.hold {
			consts["DEPTH"] = f.columns
		}
		return attentionCoopVariant(name, "attention_coop", f.columns, coop, best, consts,
			[]DeclPass[AttentionParams]{{Grid: func(p AttentionParams) [3]uint32 {
				return gridGroups(int(p.Batch*p.Heads) * chunksOf(p.Queries, int(f.queries)))
			}}})
	}
	return []DeclVariant[AttentionParams]{
		variant("coopmat1.d64", attentionForm{columns: 64, queries: 128, down: 2, keys: 3, turns: true, narrow: true}, true),
		variant("coopmat1.d64.x16", attentionForm{columns: 64, queries: 64, down: 1, keys: 4, hold: true}, true),
		variant("coopmat1.d64.hold", attentionForm{columns: 64, queries: 128, down: 2, keys: 2, hold: true}, false),
		variant("coopmat1.d128", attentionForm{columns: 128, queries: 64, down: 2, keys: 3, turns: true, rolled: true, narrow: true}, true),
		variant("coopmat1.d128.x16", attentionForm{columns: 128, queries: 64, down: 1, keys: 4, turns: true}, true),
	}
}

// attentionForm is a form of the forward kernel: its queries a workgroup, how many
// matrices of them a subgroup has, and how many of keys a tile; whether the queries stay
// in registers (hold), whether a tile's values replace its keys in shared memory (turns), and
// whether few loads are in flight (rolled).
type attentionForm struct {
	columns, queries, down, keys uint32
	hold, turns, rolled          bool
	narrow                       bool // see Cooperative.Narrow
}

// attentionBackwardCoop are the same for the gradients. Estimates as above, of the passes
// for dq and dk, and for dv; they compute the scores three times, 8 products where one
// pass for dk and dv would need 7, but has sums of both.
//
//	                    rows ×    shared   sums, scores,  FLOP per     bound, of
//	                    tile      memory   slopes         shared byte  the peak
//	coopmat1.d64        64 × 32   34 KiB   64 + 64        13.7, 12.8   43%, 40%
//	coopmat1.d128       64 × 16   47 KiB   128 + 32       11.3, 11.6   35%, 36%
//	coopmat1.d128.x16   64 × 32   58 KiB   64 + 32        10.1, 9.8    32%, 31%
//
// By Mesa's compiler, without spills; cycles for 1000 pairs, of dq, dk and dv together:
//
//	                    VGPRs      waves    cycles
//	coopmat1.d64        240  168   2   4    25.6   26.2
//	coopmat1.d128       240  168   2   4    118.9  127.1
//	coopmat1.d128.x16   192  144   3   6    58.0   62.8
func attentionBackwardCoop() []DeclVariant[AttentionParams] {
	variant := func(name string, columns, down, tile uint32, narrow bool) DeclVariant[AttentionParams] {
		const rows = 64
		coop := &Cooperative{Scope: ScopeSubgroup, Rows: rows, Cols: tile, Depth: 16, Down: down, Narrow: narrow, Rounds: true}
		queries := DeclPass[AttentionParams]{Grid: func(p AttentionParams) [3]uint32 {
			return gridGroups(int(p.Batch*p.Heads) * chunksOf(p.Queries, rows))
		}}
		keys := DeclPass[AttentionParams]{Grid: func(p AttentionParams) [3]uint32 {
			return gridGroups(int(p.Batch*p.KVHeads) * chunksOf(p.Keys, rows))
		}}
		return attentionCoopVariant(name, "attention_backward_coop", columns, coop, true,
			map[string]uint32{"COLUMNS": columns, "CHUNKS": columns / 32, "ROWS": rows, "TILE": tile, "DOWN": down, "ROLLED": 0},
			[]DeclPass[AttentionParams]{queries, queries, keys, keys})
	}
	return []DeclVariant[AttentionParams]{
		variant("coopmat1.d64", 64, 2, 32, false),
		variant("coopmat1.d128", 128, 2, 16, true),
		variant("coopmat1.d128.x16", 128, 1, 32, false),
	}
}

// attentionCoopVariant is a variant for heads of up to this number of columns. With fewer
// queries than a tile, or if it is not the best one, only tuning chooses it.
func attentionCoopVariant(name, source string, columns uint32, coop *Cooperative, best bool, consts map[string]uint32, passes []DeclPass[AttentionParams]) DeclVariant[AttentionParams] {
	return DeclVariant[AttentionParams]{
		Name: name, Source: source, Include: []string{"attention_coop"}, Cooperative: coop, Consts: consts, Passes: passes,
		When: func(p AttentionParams, c Class) bool {
			return c != Software && p.HeadDim%8 == 0 && p.HeadDim <= columns && (p.HeadDim > 64 || columns == 64)
		},
		ByTuning: func(p AttentionParams) bool { return !best || p.Queries < gpuTile },
		Specialize: func(_ AttentionParams, target DeviceCaps, s Storage) []uint32 {
			return coop.specialize(target, s.Type)
		},
	}
}
