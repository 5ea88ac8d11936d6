package nn

import (
	"fmt"
	"math"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
)

// TestNormQKV compares queries, keys and values of fused kernels with those of one kernel
// for each step, with and without QK-norm, and written into a cache or not.
func TestNormQKV(t *testing.T) {
	const tokens, hidden, past, capacity = 3, 64, 2, 8
	for _, qkNorm := range []bool{false, true} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("qk-norm %t, cached %t", qkNorm, cached), func(t *testing.T) {
				r := newGradRun(t)
				s := NewParams()
				l := newNormQKV(s, hidden, qkNorm)
				_, err := engine.Allocate(r.dev, "weights", s.Weights)
				require.NoError(t, err)
				require.NoError(t, s.Initialise(r.dev, 1))
				table, positions := r.buffer("table", 1, capacity*l.HeadDim), engine.NewBuffer("positions", 4*tokens)
				_, err = engine.Allocate(r.dev, "positions", positions)
				require.NoError(t, err)
				require.NoError(t, engine.Upload(r.dev, table.View(), RoPETable(capacity, RoPEFrequencies(l.HeadDim, 1e4), 1)))
				require.NoError(t, engine.Upload(r.dev, positions.View(), []int32{past, past + 1, past + 2}))
				x := r.buffer("x", 2, tokens*hidden)
				r.step[5] = past
				run := func(noFusion bool) (map[string][]float32, int) {
					var kernels int
					results := r.run(Options{Params: s, NoFusion: noFusion}, func(g *Graph) {
						rope := RoPE{Input(table, capacity, l.HeadDim), Input(positions, 1, tokens)}
						var q, k, v *Tensor
						if cached {
							cache := KVCache{PastSlot: 5}
							cache.Keys = Input(r.buffer("keys", 3, capacity*l.KVHeads*l.HeadDim), 1, capacity, l.KVHeads, l.HeadDim)
							cache.Values = Input(r.buffer("values", 4, capacity*l.KVHeads*l.HeadDim), 1, capacity, l.KVHeads, l.HeadDim)
							q, k, v = l.ForwardCached(g, Input(x, tokens, hidden), rope, cache)
						} else {
							q, k, v = l.Forward(g, Input(x, tokens, hidden), rope)
							g.Keep(k)
							g.Keep(v)
						}
						for name, y := range map[string]*Tensor{"q": g.Keep(q), "k": k, "v": v} {
							r.values(name, y.View(), y.Size())
						}
						kernels = len(g.Program.Dispatches)
					})
					return results, kernels
				}
				want, separate := run(true)
				got, fused := run(false)
				if fused >= separate {
					t.Errorf("%d kernels fused, %d separate", fused, separate)
				}
				for name := range want {
					for i, w := range want[name] {
						if math.Abs(float64(got[name][i]-w)) > 1e-5 { // sums of 64 terms of size 1, in another order
							t.Fatalf("%s[%d] is %g, separate %g", name, i, got[name][i], w)
						}
					}
				}
			})
		}
	}
}

// newNormQKV declares two heads of queries and one of keys and values, of 32 columns.
func newNormQKV(s *Params, hidden int, qkNorm bool) NormQKV {
	d := Declarer{Params: s, Group: "decoder"}
	layer := func(name string, rows int) Linear { return d.Linear(name, hidden, rows, false, FanIn(hidden)) }
	l := NormQKV{
		Norm: d.RMSNorm("norm", hidden, 1e-5), Q: layer("q", 64), K: layer("k", 32), V: layer("v", 32),
		Heads: 2, KVHeads: 1, HeadDim: 32,
	}
	if qkNorm {
		q, k := d.RMSNorm("q norm", 32, 1e-5), d.RMSNorm("k norm", 32, 1e-5)
		l.QNorm, l.KNorm = &q, &k
	}
	s.Seal()
	return l
}
