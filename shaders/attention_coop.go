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
			"COLUMNS": f.columns, "SPAN": f.columns / 8, "DEPTHS": f.columns / 8, "CHUNKS": f.columns / 32,
			"QUERIES": f.queries, "DOWN": f.down, "KEY_MATRICES": f.keys, "HOLD": Flag(f.hold), "TURNS": Flag(f.turns),
		}
		return attentionCoopVariant(name, "attention_coop", f.columns, coop, best, consts,
			[]DeclPass[AttentionParams]{{Grid: func(p AttentionParams) [3]uint32 {
				return gridGroups(int(p.Batch*p.Heads) * chunksOf(p.Queries, int(f.queries)))
			}}})
	}
	return []DeclVariant[AttentionParams]{
		variant("coopmat1.d64", attentionForm{columns: 64, queries: 128, down: 2, keys: 2, hold: true, narrow: true}, true),
		variant("coopmat1.d64.x16", attentionForm{columns: 64, queries: 64, down: 1, keys: 4, hold: true}, true),
		variant("coopmat1.d128", attentionForm{columns: 128, queries: 64, down: 2, keys: 3, turns: true}, true),
	}
}

// attentionForm is a form of the forward kernel: its queries a workgroup, how many
// matrices of them a subgroup has, and how many of keys a tile; whether the queries stay
// in registers (hold), and whether a tile's values replace its keys in shared memory.
type attentionForm struct {
	columns, queries, down, keys uint32
	hold, turns                  bool
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
	variant := func(name string, columns uint32) DeclVariant[AttentionParams] {
		coop := &Cooperative{Scope: ScopeSubgroup, Rows: 32, Cols: 32, Depth: 16, Down: 1, Across: 1, Rounds: true}
		queries := DeclPass[AttentionParams]{Grid: func(p AttentionParams) [3]uint32 {
			return gridGroups(int(p.Batch*p.Heads) * chunksOf(p.Queries, gpuTile))
		}}
		keys := DeclPass[AttentionParams]{Grid: func(p AttentionParams) [3]uint32 {
			return gridGroups(int(p.Batch*p.KVHeads) * chunksOf(p.Keys, gpuTile))
		}}
		return attentionCoopVariant(name, "attention_backward_coop", columns, coop, true, map[string]uint32{"COLUMNS": columns, "SPAN": columns / 8},
			[]DeclPass[AttentionParams]{queries, queries, keys})
	}
	return []DeclVariant[AttentionParams]{variant("coopmat1.d64", 64), variant("coopmat1.d128", 128)}
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
