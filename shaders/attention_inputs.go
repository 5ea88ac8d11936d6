package shaders

import "math"

// attentionInputs are causal intervals, with every key visible to the last query, and a
// typical lse of scores with variance 1.
func attentionInputs(p AttentionParams, n []int) map[string]Input {
	queries, keys := int(p.Queries), int(p.Keys)
	in := map[string]Input{"lse": {N: int(p.Batch * p.Queries * p.Heads), Mean: math.Log(float64(keys)) + 0.5}}
	intervals := Input{I: make([]int32, n[3])}
	for t := range n[3] / 4 {
		intervals.I[4*t+3] = int32(max(0, keys-queries) + t%queries + 1)
	}
	in["intervals"] = intervals
	return in
}

// attentionExact is the largest number of multiplications of a matmul for which the
// forward kernel's outputs are computed as inputs of the backward one. Larger calls get
// random ones, which take the same time: only a comparison with the reference needs exact
// ones, and calls of that size are not compared.
const attentionExact = 1 << 22

// attentionBackwardInputs are causal intervals and, of small calls, the forward
// kernel's outputs.
func attentionBackwardInputs(p AttentionParams, n []int) map[string]Input {
	in := attentionInputs(p, n)
	q, k := attentionSizes(p)
	if q*int(p.Keys) > attentionExact {
		return in
	}
	forward := []Input{values(q, 0, 1), values(k, 1, 1), values(k, 2, 1), in["intervals"]}
	in["q"], in["k"], in["v"] = forward[0], forward[1], forward[2]
	in["y"], in["lse"] = attentionOutputs(p, forward)
	return in
}

// attentionOutputs is the forward kernel's output for q, k, v and intervals.
func attentionOutputs(p AttentionParams, in []Input) (y, lse Input) {
	q, _ := attentionSizes(p)
	b := []Array{wide(in[0].F), wide(in[1].F), wide(in[2].F), {}, {F: make([]float64, q)}, {F: make([]float64, q/int(p.HeadDim))}}
	for _, v := range in[3].I {
		b[3].I = append(b[3].I, int64(v))
	}
	Attention.Reference(p, nil, b)
	return narrow(b[4]), narrow(b[5])
}
