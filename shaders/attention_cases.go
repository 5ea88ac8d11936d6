package shaders

import (
	"math"
	"math/rand/v2"

	"patchwork/shaders/half"
	"slices"
	"strings"
)

// attentionQuery is a query of one head with its visible keys, in float64.
type attentionQuery struct {
	d       int
	row     int // in lse
	at      int // in q and y
	lse     float64
	keys    []int // in k and v
	weights []float64
}

// eachQuery calls f for every query and head of the bindings q, k, v, intervals.
func eachQuery(p AttentionParams, b []Array, f func(q attentionQuery)) {
	d, heads, group := int(p.HeadDim), int(p.Heads), int(p.Heads/p.KVHeads)
	for row := range int(p.Batch * p.Queries * p.Heads) {
		t, head := row/heads, row%heads
		q := attentionQuery{d: d, row: row, at: row * d}
		maxScore, visible := math.Inf(-1), b[3].I[4*t:][:4]
		for j := range int64(p.Keys) {
			if (j >= visible[0] && j < visible[1]) || (j >= visible[2] && j < visible[3]) {
				key := ((t/int(p.Queries)*int(p.Keys)+int(j))*int(p.KVHeads) + head/group) * d
				score := float64(p.Scale) * dot(b[0].F[q.at:][:d], b[1].F[key:])
				maxScore = max(maxScore, score)
				q.keys, q.weights = append(q.keys, key), append(q.weights, score)
			}
		}
		var sum float64
		for _, score := range q.weights {
			sum += math.Exp(score - maxScore)
		}
		if len(q.keys) > 0 {
			q.lse = maxScore + math.Log(sum)
		}
		for j, score := range q.weights {
			q.weights[j] = math.Exp(score - q.lse)
		}
		f(q)
	}
}

func dot(a, b []float64) float64 {
	var sum float64
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// attentionSizes is how many elements q and k have.
func attentionSizes(p AttentionParams) (q, k int) {
	return int(p.Batch * p.Queries * p.Heads * p.HeadDim), int(p.Batch * p.Keys * p.KVHeads * p.HeadDim)
}

// attentionModes are the keys visible to query t of n, the last n of keys.
var attentionModes = []struct {
	name    string
	visible func(t, n, keys int) [4]int
}{
	{"causal", func(t, n, keys int) [4]int { return [4]int{0, 0, 0, keys - n + t + 1} }},
	{"packed", func(t, n, keys int) [4]int { return [4]int{0, 0, t / 11 * 11, t + 1} }},
	{"both ways", func(t, n, keys int) [4]int { return [4]int{0, 0, t / 40 * 40, min(t/40*40+40, keys)} }},
	{"shared prefix", func(t, n, keys int) [4]int { // a prefix of 9, then turns of 13; some rows of padding
		if t < 9 {
			return [4]int{0, 0, 0, t + 1}
		}
		if t > 60 && t < 66 {
			return [4]int{}
		}
		return [4]int{0, 9, 9 + (t-9)/13*13, t + 1}
	}},
	{"overlapping", func(t, n, keys int) [4]int { return [4]int{t / 2, t + 1, 0, t/2 + 1} }},
	{"one key", func(t, n, keys int) [4]int { return [4]int{0, 0, t, t + 1} }},
	{"window", func(t, n, keys int) [4]int { // of 35 keys, by 64 queries in one interval and in the other
		if t/64%2 == 1 {
			return [4]int{t - 34, t + 1, 0, 0}
		}
		return [4]int{0, 0, max(0, t-34), t + 1}
	}},
	{"nothing", func(t, n, keys int) [4]int { return [4]int{5, 5, 3, 0} }},
}

// attentionCases makes the cases of both kernels; bindings adds what follows
// intervals.
func attentionCases(bindings func(p AttentionParams, in []Input) []Input) []Case {
	var cases []Case
	call := func(mode, batch, queries, keys, heads, kv, d int, scale, mean float64) {
		p := AttentionParams{
			Batch: uint32(batch), Queries: uint32(queries), Keys: uint32(keys), Heads: uint32(heads), KVHeads: uint32(kv),
			HeadDim: uint32(d), Scale: float32(1 / math.Sqrt(float64(d))),
		}
		q, k := attentionSizes(p)
		in := []Input{values(q, 0, scale), values(k, 1, scale), values(k, 2, 1), {}}
		for i := range in[0].F {
			in[0].F[i] = roundToHalves(in[0].F[i] + float32(mean))
		}
		for i := range in[1].F {
			in[1].F[i] = roundToHalves(in[1].F[i] - float32(mean))
		}
		scale = max(scale, mean)
		for b := range batch {
			m := attentionModes[(mode+b)%len(attentionModes)] // no two rows alike
			if batch > 1000 && b%257 != 0 && b < batch-3 {
				m = attentionModes[len(attentionModes)-1] // everything masked, which takes no time
			}
			for t := range queries {
				for _, v := range m.visible(t, queries, keys) {
					in[3].I = append(in[3].I, int32(v))
				}
			}
		}
		c := Case{
			Params: p, Inputs: bindings(p, in),
			// Scores of size scale² are rounded, a relative error of the weights, which
			// keys of size scale multiply in dq.
			Long:                     batch*queries*heads > 65535,
			ProductRoundingTolerance: 0.5 * largest(in[2].F), // weights add up to 1
			Atol:                     2e-6 * (1 + scale*scale*scale) * math.Sqrt(float64(heads/kv)), Rtol: 1e-5 * (1 + scale*scale),
		}
		cases = append(cases, c.named("%s %dx%d of %d, %d heads over %d of %d, scale %g", attentionModes[mode].name, batch, queries, keys, heads, kv, d, scale))
	}
	for mode := range attentionModes {
		call(mode, 2, 70, 70, 4, 2, 16, 1, 0)
		call(mode, 1, 33, 33, 2, 2, 64, 1, 0)
	}
	for _, d := range []int{1, 5, 8, 40, 51, 100, 128, 130, 300} {
		call(0, 1, 37, 37, 3, 1, d, 1, 0)
	}
	call(0, 1, 2, 90, 2, 1, 256, 1, 0) // heads of Gemma's sizes
	call(6, 1, 3, 140, 2, 1, 512, 1, 0)
	call(6, 1, 67, 67, 2, 1, 512, 1, 0)
	call(0, 1, 1, 1, 1, 1, 32, 1, 0)
	call(0, 3, 1, 77, 6, 2, 32, 1, 0)
	call(0, 1, 5, 200, 2, 1, 48, 1, 0)
	call(0, 4, 2, 600, 10, 2, 32, 1, 0) // decoding after a long context
	call(0, 1, 2, 2100, 2, 1, 8, 1, 0)
	call(3, 2, 4, 150, 2, 1, 12, 1, 0)
	call(7, 2, 3, 40, 2, 1, 96, 1, 0)
	call(0, 2, 3, 70, 6, 3, 32, 1, 0)
	call(0, 2, 9, 70, 6, 3, 32, 1, 0)
	call(6, 1, 200, 200, 1, 1, 16, 1, 0)
	call(6, 1, 130, 130, 2, 1, 32, 1, 0)
	call(0, 1, 70, 70, 2, 1, 32, 4, 0)
	call(1, 1, 513, 513, 1, 1, 16, 1, 0)
	call(0, 2, 64, 64, 2, 1, 32, 1, 0)    // whole tiles, in two rows
	call(0, 1, 64, 65, 2, 1, 32, 1, 0)    // the last query alone sees a tile of keys
	call(0, 1, 65, 65, 1, 1, 32, 1, 0)    // one query more than a tile
	call(0, 1, 20, 20, 1, 1, 16, 1, 8)    // scores of -256: their maximum counts
	call(0, 1, 3, 20, 1, 1, 16, 1, 8)     // the same, in rows
	call(0, 65536, 1, 2, 1, 1, 4, 1, 0)   // beyond 65535 workgroups, in rows
	call(0, 13108, 5, 5, 5, 5, 1, 0.5, 0) // and in tiles
	return cases
}

// attentionBackwardCases gives the backward kernel the forward one's outputs.
func attentionBackwardCases() []Case {
	cases := attentionCases(func(p AttentionParams, in []Input) []Input {
		q, k := attentionSizes(p)
		y, lse := attentionOutputs(p, in)
		return append(in, y, lse, values(q, 3, 1), output(q, 0), output(k, 0), output(k, 0))
	})
	for i, c := range cases {
		// y's rounding makes dy·y wrong by some √d units, and that all of a row's
		// scores' gradients, which meet keys of the case's scale.
		for _, k := range c.Inputs[1].F {
			cases[i].RecomputedInputTolerance = max(cases[i].RecomputedInputTolerance, 1+math.Abs(float64(k)))
		}
		cases[i].ProductRoundingTolerance = 0.5 * gradientRoundingTolerance(c)
		if p := c.Params.(AttentionParams); p.Heads == p.KVHeads && strings.HasPrefix(c.Name, "one key") {
			cases[i].Atol = 0 // no gradient reaches q and k, not even a rounding's
		}
	}
	for i, c := range slices.Clone(cases[:6]) {
		p := c.Params.(AttentionParams)
		p.AccumulateQ, p.AccumulateK, p.AccumulateV = Flag(i < 2 || i == 3), Flag(i < 2 || i == 4), Flag(i < 2 || i == 5)
		c.Params, c.Inputs = p, slices.Clone(c.Inputs)
		q, k := attentionSizes(p)
		c.Inputs[7], c.Inputs[8], c.Inputs[9] = output(q, p.AccumulateQ), output(k, p.AccumulateK), output(k, p.AccumulateV)
		cases = append(cases, c.named("%s, adding %d%d%d", c.Name, p.AccumulateQ, p.AccumulateK, p.AccumulateV))
	}
	return cases
}

// gradientRoundingTolerance is the largest sum of magnitudes of an element of dq, dk or
// dv from weights or gradients of scores.
func gradientRoundingTolerance(c Case) (tolerance float64) {
	p := c.Params.(AttentionParams)
	var b []Array
	for _, in := range c.Inputs[:7] {
		b = append(b, wide(in.F))
	}
	for _, v := range c.Inputs[3].I {
		b[3].I = append(b[3].I, int64(v))
	}
	q, k := attentionSizes(p)
	dq, dk, dv := make([]float64, q), make([]float64, k), make([]float64, k)
	eachQuery(p, b, func(q attentionQuery) {
		dy := b[6].F[q.at:][:q.d]
		delta := dot(dy, b[4].F[q.at:])
		for j, key := range q.keys {
			ds := math.Abs(q.weights[j] * (dot(dy, b[2].F[key:]) - delta))
			for i := range q.d {
				dq[q.at+i] += float64(p.Scale) * ds * math.Abs(b[1].F[key+i])
				dk[key+i] += float64(p.Scale) * ds * math.Abs(b[0].F[q.at+i])
				dv[key+i] += q.weights[j] * math.Abs(dy[i])
			}
		}
	})
	return max(slices.Max(dq), slices.Max(dk), slices.Max(dv))
}

// values is n normally distributed values; the stream distinguishes inputs. They are
// rounded to values that the 16-bit types hold, so that inputs derived from them, such as
// the logarithms of sums, are the same in every storage.
func values(n int, stream uint64, scale float64) Input {
	random := rand.New(rand.NewPCG(uint64(n), stream))
	in := Input{F: make([]float32, n)}
	for i := range in.F {
		in.F[i] = roundToHalves(float32(scale * random.NormFloat64()))
	}
	return in
}

// largest is the largest magnitude.
func largest(x []float32) (largest float64) {
	for _, v := range x {
		largest = max(largest, math.Abs(float64(v)))
	}
	return largest
}

// roundToHalves rounds to what both types of 16 bits hold.
func roundToHalves(x float32) float32 { return half.BF16.Round(half.F16.Round(x)) }

func wide(x []float32) Array {
	a := Array{F: make([]float64, len(x))}
	for i, v := range x {
		a.F[i] = float64(v)
	}
	return a
}

func narrow(a Array) Input {
	in := Input{F: make([]float32, len(a.F))}
	for i, v := range a.F {
		in.F[i] = float32(v)
	}
	return in
}
