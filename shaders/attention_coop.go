package shaders

// attentionCoop are the forward variants for devices with cooperative matrices, with q,
// k, v and y of 16 bits: heads of up to 64 and of up to 128 columns. Each subgroup has 32
// queries, one for an invocation of a subgroup of 32. Estimates for an H100 (see
// matmulCoop), none of them measured. FLOP per shared byte are those of a tile of 32 keys
// relative to all shared memory traffic of a subgroup for it, including its share of the
// loads; 32 would reach the peak.
//
//	                   shared    sums per    workgroups   FLOP per     bound, of
//	                   memory    invocation  a processor  shared byte  the peak
//	coopmat1.d64       29 KiB    64 + 32     6            9            29%, shared memory
//	coopmat1.d128      45 KiB    128 + 32    4            12           37%, shared memory
//	coopmat1.d128.one  31 KiB    128 + 32    7            10           31%, shared memory
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

// attentionBackwardCoop are the same for the gradients. Four subgroups share a tile of
// 32 queries and 32 keys. Estimates as above, of the pass for dq:
//
//	               shared    sums per    workgroups   FLOP per     bound, of
//	               memory    invocation  a processor  shared byte  the peak
//	coopmat1.d64   28 KiB    16          8            5            17%, shared memory
//	coopmat1.d128  44 KiB    32          5            7            21%, shared memory
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
