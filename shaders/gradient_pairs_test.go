package shaders

import "slices"

// withoutGradient are the kernels without a gradient, with the reason.
var withoutGradient = map[string]string{
	"adamw":           "the optimizer's update, which is not differentiated",
	"adamw8":          "the optimizer's update, which is not differentiated",
	"append_rows":     "fills the key/value cache in generation",
	"argmax":          "an index has no gradient",
	"clip_factor":     "part of the optimizer's update",
	"copy":            "copies or converts, outside the graph of gradients",
	"append_quant":    "writes a key/value cache, only for inference",
	"attention_paged": "reads a key/value cache, only for inference",
	"attention_quant": "reads a key/value cache, only for inference",
	"embed_quant":     "Embed with a table that is not trained; the gradient of the features is Embed's",
	"fake_quant":      "rounds master weights for matmuls; gradients go straight through to them",
	"fill":            "a constant",
	"muon_momentum":   "part of the optimizer's update",
	"muon_normalize":  "part of the optimizer's update",
	"muon_update":     "part of the optimizer's update",
	"patchify_pixels": "bytes have no gradient",
	"peak_fma":        "measures the device",
	"rmsnorm_linear":  "for generation; training runs rmsnorm and matmul",
	"softcap":         "for generation; a loss has it in cross_entropy",
	"sum":             "sums losses for reports",
	"sum_squares":     "computes the norm of the gradients",
}

// gradientPairs are the forward and backward passes as package nn records them, at
// small shapes.
func gradientPairs() []gradientPair {
	return slices.Concat(elementwisePairs(), normPairs(), rowPairs(), matmulPairs(), attentionPairs(), ropePairs(), imagePairs())
}

func elementwisePairs() []gradientPair {
	const n, rows, cols = 13, 3, 5
	return []gradientPair{
		{
			name: "gelu", floats: map[string]int{"x": n}, outputs: map[string]int{"y": n}, wanted: []string{"x"},
			forward:  func(c *calls) { c.call(GELU, GELUParams{N(n)}) },
			backward: func(c *calls, add uint32) { c.call(GELUBackward, GELUBackwardParams{N(n), add}) },
		},
		gatedPair("swiglu", n, SiLU), gatedPair("geglu", n, GELUTanh),
		stackedPair("swiglu_stacked", rows, cols, SiLU), stackedPair("geglu_stacked", rows, cols, GELUTanh),
		{
			name: "scale", floats: map[string]int{"x": n, "s": 1}, outputs: map[string]int{"y": n}, wanted: []string{"x", "s"},
			forward: func(c *calls) { c.call(Scale, ScaleParams{N: N(n)}) },
			backward: func(c *calls, add uint32) {
				c.call(Scale, ScaleParams{N(n), add}, "x", "dy", "y", "dx")
				ds := MatMulParams{M: N(1), K: N(n), N: 1, LDA: n, LDB: 1, LDC: 1, Batch: 1, Alpha: 1, Beta: float32(add)}
				c.call(MatMul, ds, "a", "dy", "b", "x", "bias", "", "residual", "", "c", "ds")
			},
		},
	}
}

func gatedPair(name string, n int, activation uint32) gradientPair {
	return gradientPair{
		name: name, floats: map[string]int{"gate": n, "up": n}, outputs: map[string]int{"y": n}, wanted: []string{"gate", "up"},
		forward:  func(c *calls) { c.call(SwiGLU, SwiGLUParams{N(n), activation}) },
		backward: func(c *calls, add uint32) { c.call(SwiGLUBackward, SwiGLUBackwardParams{N(n), add, add, activation}) },
	}
}

func stackedPair(name string, rows, cols int, activation uint32) gradientPair {
	return gradientPair{
		name: name, floats: map[string]int{"x": 2 * rows * cols}, outputs: map[string]int{"y": rows * cols}, wanted: []string{"x"},
		forward: func(c *calls) { c.call(SwiGLUStacked, SwiGLUStackedParams{N(rows), uint32(cols), activation}) },
		backward: func(c *calls, add uint32) {
			c.call(SwiGLUStackedBackward, SwiGLUStackedBackwardParams{N(rows), uint32(cols), add, activation})
		},
	}
}

// pass adds the gradient of an output to that of an input that it is the sum of.
func (c *calls) pass(output, input string, add uint32) {
	c.accumulate("d"+output, "d"+input, add)
}

func (c *calls) accumulate(from, to string, add uint32) {
	if add == 0 {
		clear(c.tensors[to].F)
	}
	c.call(Accumulate, AccumulateParams{N(len(c.tensors[to].F))}, "x", from, "y", to)
}

func normPairs() []gradientPair {
	const rows, cols = 4, 7
	whole := map[string]int{"x": rows * cols, "w": cols, "b": cols}
	layer := func(name string, eps float32, withX, withW uint32, wanted ...string) gradientPair {
		return gradientPair{
			name: name, floats: whole, wanted: wanted, kept: []string{"mean", "rstd"},
			outputs: map[string]int{"y": rows * cols, "mean": rows, "rstd": rows},
			forward: func(c *calls) { c.call(LayerNorm, LayerNormParams{N(rows), cols, eps}) },
			backward: func(c *calls, add uint32) {
				p := LayerNormBackwardParams{N(rows), cols, add, add, withX, withW}
				c.call(LayerNormBackward, p, slices.Concat(unwanted(withX, "dx"), unwanted(withW, "dw", "db"))...)
			},
		}
	}
	rms := func(name string, withW, narrow uint32, wanted ...string) gradientPair {
		return gradientPair{
			name: name, floats: map[string]int{"x": rows * cols, "w": cols}, wanted: wanted, kept: []string{"rstd"},
			outputs: map[string]int{"y": rows * cols, "rstd": rows},
			forward: func(c *calls) { c.call(RMSNorm, RMSNormParams{Rows: N(rows), Cols: cols, Eps: 1e-5}, "residual", "") },
			backward: func(c *calls, add uint32) {
				c.tensors["narrow"] = Array{F: make([]float64, rows*cols)}
				c.call(RMSNormBackward, RMSNormBackwardParams{N(rows), cols, add, add, withW, narrow, 0}, unwanted(withW, "dw")...)
			},
		}
	}
	mask := make([]int64, rows*cols)
	for i := range mask {
		mask[i] = int64(i%3) % 2 * int64(i/cols%3) // one row is all masked
	}
	soft := func(name string, mask []int64) gradientPair {
		return gradientPair{
			name: name, floats: map[string]int{"x": rows * cols}, ints: map[string][]int64{"mask": mask},
			outputs: map[string]int{"y": rows * cols}, wanted: []string{"x"},
			forward:  func(c *calls) { c.call(Softmax, SoftmaxParams{N(rows), cols}) },
			backward: func(c *calls, add uint32) { c.call(SoftmaxBackward, SoftmaxBackwardParams{N(rows), cols, add}) },
		}
	}
	return []gradientPair{
		layer("layernorm", 1e-5, 1, 1, "x", "w", "b"),
		layer("layernorm of a large epsilon", 1, 1, 1, "x", "w", "b"),
		layer("layernorm, frozen", 1e-5, 1, 0, "x"),
		layer("layernorm of pixels", 1e-5, 0, 1, "w", "b"),
		rms("rmsnorm", 1, 1, "x", "w"),
		rms("rmsnorm, frozen", 0, 0, "x"),
		{
			name: "rmsnorm without a weight", floats: map[string]int{"x": rows * cols}, wanted: []string{"x"}, kept: []string{"rstd"},
			outputs: map[string]int{"y": rows * cols, "rstd": rows},
			forward: func(c *calls) {
				c.call(RMSNorm, RMSNormParams{Rows: N(rows), Cols: cols, Eps: 1e-5, Weightless: 1}, "w", "", "residual", "")
			},
			backward: func(c *calls, add uint32) {
				p := RMSNormBackwardParams{Rows: N(rows), Cols: cols, AccumulateX: add, Weightless: 1}
				c.call(RMSNormBackward, p, "w", "", "dw", "", "narrow", "")
			},
		},
		{
			name: "rmsnorm added to a residual", floats: map[string]int{"x": rows * cols, "w": cols, "residual": rows * cols},
			wanted: []string{"x", "w", "residual"}, kept: []string{"rstd"}, outputs: map[string]int{"y": rows * cols, "rstd": rows},
			forward: func(c *calls) { c.call(RMSNorm, RMSNormParams{Rows: N(rows), Cols: cols, Eps: 1e-5, Residual: 1}) },
			backward: func(c *calls, add uint32) {
				p := RMSNormBackwardParams{Rows: N(rows), Cols: cols, AccumulateX: add, AccumulateW: add, WithW: 1}
				c.call(RMSNormBackward, p, "narrow", "")
				c.pass("y", "residual", add)
			},
		},
		soft("softmax", slices.Repeat([]int64{1}, rows*cols)),
		soft("softmax with a mask", mask),
	}
}

// unwanted omits the gradients of a frozen layer, or of pixels.
func unwanted(with uint32, gradients ...string) (renamed []string) {
	for _, g := range gradients {
		if with == 0 {
			renamed = append(renamed, g, "")
		}
	}
	return renamed
}

func rowPairs() []gradientPair {
	const rows, cols, some, base = 6, 3, 4, 2
	index := []int64{0, 0, 4, 1, 5, 2}
	p := func(add uint32) GatherRowsParams { return GatherRowsParams{N(some), cols, base, add} }
	cleared := func(c *calls, add uint32) {
		if add == 0 {
			clear(c.gradient("x"))
		}
	}
	return []gradientPair{
		{
			name: "gather_rows", floats: map[string]int{"x": rows * cols}, ints: map[string][]int64{"index": index},
			outputs: map[string]int{"y": some * cols}, wanted: []string{"x"},
			forward: func(c *calls) { c.call(GatherRows, p(0)) },
			backward: func(c *calls, add uint32) {
				cleared(c, add)
				c.call(ScatterRows, p(1), "x", "dy", "y", "dx")
			},
		},
		{
			name: "scatter_rows", floats: map[string]int{"x": some * cols}, ints: map[string][]int64{"index": index},
			outputs: map[string]int{"y": rows * cols}, wanted: []string{"x"},
			forward:  func(c *calls) { c.call(ScatterRows, p(0)) },
			backward: func(c *calls, add uint32) { c.call(GatherRows, p(add), "x", "dy", "y", "dx") },
		},
		embedPair("embed", 0, 9, 1),
		embedPair("embed, a part of the table", 3, 4, 1),
		embedPair("embed, scaled", 0, 9, 6.9),
		crossEntropyPair("linear head and cross_entropy", 0),
		crossEntropyPair("linear head and cross_entropy with a soft cap", 1.5),
	}
}

// embedPair looks up seven tokens, two of them an image's, in the table's rows from first
// on.
func embedPair(name string, first, rows uint32, scale float32) gradientPair {
	const tokens, cols, slots = 7, 3, 2
	size := map[string]int{"table": int(rows) * cols, "features": slots * cols}
	return gradientPair{
		name: name, floats: size, outputs: map[string]int{"y": tokens * cols}, wanted: []string{"table", "features"},
		ints: map[string][]int64{
			"ids": {4, 6, 5, 5, 1, 4, 6}, "slots": {-1, -1, 1, 0, -1, -1, -1},
			"order": {4, 0, 5, 1, 6}, "starts": {0, 1, 3, 5}, "segment_ids": {1, 4, 6}, "slot_tokens": {3, 2},
		},
		forward: func(c *calls) {
			c.call(Embed, EmbedParams{Tokens: N(tokens), Cols: cols, Rows: rows, First: first, Scale: scale})
		},
		backward: func(c *calls, add uint32) {
			if add == 0 {
				clear(c.gradient("table"))
			}
			c.call(EmbedBackward, EmbedBackwardParams{Segments: N(3), Cols: cols, Rows: rows, First: first, Scale: scale})
			c.call(GatherRows, GatherRowsParams{Rows: N(slots), Cols: cols, Accumulate: add}, "index", "slot_tokens", "x", "dy", "y", "dfeatures")
		},
	}
}

// crossEntropyPair is the head: logits of hidden states, the loss, and the gradients of
// both factors. The logits' rows have a gap.
func crossEntropyPair(name string, limit float32) gradientPair {
	const rows, d, vocabulary, ld, base, scale = 5, 4, 7, 8, 2, 0.25
	head := MatMulParams{M: N(rows), K: N(d), N: vocabulary, TransB: 1, LDA: d, LDB: d, LDC: ld, Batch: 1, Alpha: 1}
	loss := CrossEntropyParams{Rows: N(rows), Cols: vocabulary, LD: ld, Base: base, Scale: scale, Cap: limit}
	return gradientPair{
		name: name, floats: map[string]int{"h": rows * d, "w": vocabulary * d},
		ints:    map[string][]int64{"targets": {6, 6, 3, Ignore, 0, 6, 3}},
		outputs: map[string]int{"logits": rows * ld, "nll": base + rows}, kept: []string{"logits"},
		incoming: map[string]float64{"nll": scale}, wanted: []string{"h", "w"},
		forward: func(c *calls) {
			c.call(MatMul, head, "a", "h", "b", "w", "bias", "", "residual", "", "c", "logits")
			c.call(CrossEntropy, loss)
		},
		backward: func(c *calls, add uint32) {
			c.tensors["dlogits"] = Array{F: slices.Clone(c.tensors["logits"].F)}
			graded := loss
			graded.Grad = 1
			c.call(CrossEntropy, graded, "logits", "dlogits")
			dh := MatMulParams{M: N(rows), K: N(vocabulary), N: d, LDA: ld, LDB: d, LDC: d, Batch: 1, Alpha: 1, Beta: float32(add)}
			c.call(MatMul, dh, "a", "dlogits", "b", "w", "bias", "", "residual", "", "c", "dh")
			dw := MatMulParams{M: N(vocabulary), K: N(rows), N: d, TransA: 1, LDA: ld, LDB: d, LDC: d, Batch: 1, Alpha: 1, Beta: float32(add)}
			c.call(MatMul, dw, "a", "dlogits", "b", "h", "bias", "", "residual", "", "c", "dw")
		},
	}
}

func attentionPairs() []gradientPair {
	const batch, queries, keys, heads, kv, d = 2, 4, 5, 4, 2, 3
	intervals := []int64{ // of every query: its prefix and own intervals
		0, 0, 0, 2, 0, 0, 2, 4, 0, 2, 3, 5, 0, 3, 2, 4, // causal, packed, a shared prefix, two that overlap
		0, 0, 0, 5, 0, 0, 0, 0, 1, 2, 4, 5, 0, 0, 4, 5, // all, none, a gap, one key
	}
	p := func(add uint32) AttentionParams {
		return AttentionParams{batch, queries, keys, heads, kv, d, 0.6, add, add, add}
	}
	q, k := batch*queries*heads*d, batch*keys*kv*d
	return []gradientPair{{
		name: "attention", floats: map[string]int{"q": q, "k": k, "v": k}, ints: map[string][]int64{"intervals": intervals},
		outputs: map[string]int{"y": q, "lse": q / d}, kept: []string{"lse"}, wanted: []string{"q", "k", "v"},
		forward:  func(c *calls) { c.call(Attention, p(0)) },
		backward: func(c *calls, add uint32) { c.call(AttentionBackward, p(add)) },
	}}
}

// ropePairs rotate by any table: the gradients do not require cosines and sines.
func ropePairs() []gradientPair {
	const tokens, heads, kv, d, angles = 3, 2, 1, 4, 5
	positions := map[string][]int64{"positions": {4, 0, 3}}
	const all = tokens * (heads + 2*kv) * d
	return []gradientPair{
		{
			name: "rope", floats: map[string]int{"x": tokens * heads * d, "table": angles * d}, ints: positions,
			outputs: map[string]int{"y": tokens * heads * d}, wanted: []string{"x"},
			forward: func(c *calls) { c.call(RoPE, RoPEParams{N(tokens), heads, d, 0, 0}) },
			backward: func(c *calls, add uint32) {
				c.call(RoPE, RoPEParams{N(tokens), heads, d, 1, add}, "x", "dy", "y", "dx")
			},
		},
		{
			name: "rope_split", floats: map[string]int{"x": all, "table": angles * d}, ints: positions,
			outputs: map[string]int{"q": tokens * heads * d, "k": tokens * kv * d, "v": tokens * kv * d}, wanted: []string{"x"},
			forward: func(c *calls) {
				c.call(RoPESplit, RoPESplitParams{Tokens: N(tokens), Heads: heads, KVHeads: kv, HeadDim: d})
			},
			backward: func(c *calls, add uint32) {
				c.call(RoPESplitBackward, RoPESplitParams{Tokens: N(tokens), Heads: heads, KVHeads: kv, HeadDim: d, Accumulate: add})
			},
		},
		ropeNormPair("rope_split_norm", 1, positions, "x", "wq", "wk"),
		ropeNormPair("rope_split_norm, frozen", 0, positions, "x"),
	}
}

func ropeNormPair(name string, withW uint32, positions map[string][]int64, wanted ...string) gradientPair {
	const tokens, heads, kv, d, angles = 3, 2, 1, 4, 5
	return gradientPair{
		name: name, floats: map[string]int{"x": tokens * (heads + kv) * d, "wq": d, "wk": d, "table": angles * d}, ints: positions,
		outputs: map[string]int{"q": tokens * heads * d, "k": tokens * kv * d, "rstd": tokens * (heads + kv)},
		kept:    []string{"rstd"}, wanted: wanted,
		forward: func(c *calls) {
			c.call(RoPESplitNorm, RoPESplitNormParams{Tokens: N(tokens), Heads: heads, KVHeads: kv, HeadDim: d, Eps: 1e-5}, "v", "")
		},
		backward: func(c *calls, add uint32) {
			p := RoPESplitNormBackwardParams{N(tokens), heads, kv, d, add, add, withW}
			c.call(RoPESplitNormBackward, p, unwanted(withW, "dwq", "dwk")...)
		},
	}
}

func imagePairs() []gradientPair {
	const images, height, width, side, channels, cols, maxGrid = 2, 4, 6, 2, 3, 3, 4
	const gridH, gridW = height / side, width / side
	const patches, pixels = images * gridH * gridW, images * channels * height * width
	cut := func(add uint32) PatchifyParams {
		return PatchifyParams{N(patches), height, width, side, channels, add}
	}
	at := func(add uint32) PositionAddParams {
		return PositionAddParams{N(patches), cols, gridH, gridW, maxGrid, add}
	}
	means := func(name string, withPatches uint32, wanted ...string) gradientPair {
		const cols = channels * side * side
		return gradientPair{
			name: name, floats: map[string]int{"x": patches * cols, "patches": patches * cols},
			outputs: map[string]int{"y": patches * (cols + channels)}, wanted: wanted,
			forward: func(c *calls) { c.call(AppendMeans, AppendMeansParams{N(patches), cols, channels}) },
			backward: func(c *calls, add uint32) {
				c.call(AppendMeansBackward, AppendMeansBackwardParams{N(patches), cols, channels, add, add, withPatches}, unwanted(withPatches, "dpatches")...)
			},
		}
	}
	return []gradientPair{
		means("append_means", 1, "x", "patches"),
		means("append_means of pixels", 0, "x"),
		{
			name: "patchify", floats: map[string]int{"x": pixels}, outputs: map[string]int{"y": pixels}, wanted: []string{"x"},
			forward:  func(c *calls) { c.call(Patchify, cut(0)) },
			backward: func(c *calls, add uint32) { c.call(PatchifyBackward, cut(add)) },
		},
		{
			name: "position_add", floats: map[string]int{"x": patches * cols, "y_pos": maxGrid * cols, "x_pos": maxGrid * cols},
			outputs: map[string]int{"y": patches * cols}, wanted: []string{"x", "y_pos", "x_pos"},
			forward: func(c *calls) { c.call(PositionAdd, at(0)) },
			backward: func(c *calls, add uint32) {
				c.pass("y", "x", add)
				c.call(PositionAddBackward, at(add))
			},
		},
		{
			name: "position_lookup", floats: map[string]int{"x": patches * cols, "y_pos": maxGrid * cols, "x_pos": maxGrid * cols},
			ints: map[string][]int64{ // of an image of 2×3 patches and one of 3×2
				"grid":   {0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2, 0, 0, 0, 1, 1, 0, 1, 1, 2, 0, 2, 1},
				"order":  {0, 1, 2, 6, 7, 3, 4, 5, 8, 9, 10, 11, 0, 3, 6, 8, 10, 1, 4, 7, 9, 11, 2, 5},
				"starts": {0, 5, 10, 12, 12, 17, 22, 24, 24},
			},
			outputs: map[string]int{"y": patches * cols}, wanted: []string{"x", "y_pos", "x_pos"},
			forward: func(c *calls) { c.call(PositionLookup, PositionLookupParams{N(patches), cols, maxGrid}) },
			backward: func(c *calls, add uint32) {
				c.pass("y", "x", add)
				c.call(PositionLookupBackward, PositionLookupBackwardParams{cols, maxGrid, add})
			},
		},
	}
}
