package nn

import (
	"testing"

	"patchwork/engine"
)

// TestAttentionMemory: the memory of attention and its gradient is proportional to the
// number of tokens, and far less than a matrix of scores would take.
func TestAttentionMemory(t *testing.T) {
	const heads, kv, d = 9, 3, 64
	plan := func(tokens int) int64 {
		p, err := Record("attention", Options{Train: true}, func(g *Graph) {
			variable := func(name string, heads int) *Tensor {
				return g.Variable(engine.NewBuffer(name, int64(4*tokens*heads*d)), 1, tokens, heads, d)
			}
			intervals := Input(engine.NewBuffer("intervals", int64(16*tokens)), 1, tokens, 4)
			q, k, v := variable("q", heads), variable("k", kv), variable("v", kv)
			y := g.Attention(q, k, v, intervals, 0.25)
			g.SetGrad(y, engine.NewBuffer("dy", int64(4*y.Size())).View())
			for _, x := range []*Tensor{q, k, v} {
				g.KeepGrad(x)
			}
			g.Backward()
			g.Keep(y)
			for _, x := range []*Tensor{q, k, v} {
				g.Grad(x)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := engine.NewPlan(p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Dispatches) != 2 {
			t.Fatalf("%d dispatches, want attention and its gradient", len(plan.Dispatches))
		}
		return plan.Arena.Total()
	}
	const first = 1024
	base := plan(first)
	// y, lse, dq, dk, dv and delta; the rest is rounding and the tiles' intervals.
	if least := int64(4 * first * (2*heads*d + 2*kv*d + 2*heads)); base < least || base > least+least/10 {
		t.Errorf("%d tokens take %d bytes, want %d and at most a tenth more", first, base, least)
	}
	for _, tokens := range []int{2048, 4096, 8192} {
		got, factor := plan(tokens), int64(tokens/first)
		if got > factor*base {
			t.Errorf("%d tokens take %d bytes, more than %d times the %d bytes of %d tokens", tokens, got, factor, base, first)
		}
		if scores := int64(4 * tokens * tokens); tokens == 8192 && got > scores/4 {
			t.Errorf("%d tokens take %d bytes; the scores of one head would be %d", tokens, got, scores)
		}
	}
}
