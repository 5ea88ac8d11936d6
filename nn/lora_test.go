package nn

import (
	"fmt"
	"math"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// TestLoRA compares a layer with an adapter, and its gradients, with the same made of plain
// layers, on a base in 32 bits, in 16 and quantised.
func TestLoRA(t *testing.T) {
	const rows, in, out, rank, scale = 9, 64, 96, 4, 2
	for _, c := range []struct {
		dtype     shaders.Type
		quantised bool
		tolerance float64 // relative to the largest value
	}{
		{shaders.F32, false, 1e-5}, {shaders.F32, true, 1e-5},
		{shaders.BF16, false, 0.02}, // the plain layers round the adapter's result once more
		{shaders.BF16, true, 0.02},
	} {
		t.Run(fmt.Sprint(c.dtype, " quantised ", c.quantised), func(t *testing.T) {
			grads := map[string]map[string][]float32{}
			for _, plain := range []bool{false, true} {
				r := newGradRun(t)
				s := NewParams("adapter", "base")
				base := Declarer{Params: s, Group: "base"}.Linear("w", in, out, true, FanIn(in))
				base.Adapter = Declarer{Params: s, Group: "adapter"}.LoRA("w", in, out, rank, scale)
				s.Seal()
				s.Base("base")
				if c.quantised {
					s.Quantise(func(p *Param) (quant.Format, bool) { return quant.Q8_0, p == base.Weight })
				}
				if c.dtype.Half() {
					s.AddHalfCopy(c.dtype)
				}
				var buffers []*engine.Buffer
				for _, b := range []*engine.Buffer{s.Weights, s.Grads, s.Half, s.Blocks} {
					if b != nil {
						buffers = append(buffers, b)
					}
				}
				memories, err := engine.Allocate(r.dev, "test", buffers...)
				require.NoError(t, err)
				defer engine.Free(memories)
				require.NoError(t, s.Initialise(r.dev, 1))
				a, b := base.Adapter.A, base.Adapter.B
				values := (&Param{Name: "b", Init: Init{Std: 0.2}}).Draw(5, out*rank)
				if plain { // its scale is in b
					for i := range values {
						values[i] *= scale
					}
				}
				require.NoError(t, s.Write(r.dev, b, values))
				require.NoError(t, s.SyncHalf(t.Context(), r.dev))
				x, z, dy := r.buffer("x", 3, rows*in), r.buffer("z", 4, rows*out), r.buffer("dy", 6, rows*out)
				grads[fmt.Sprint(plain)] = r.run(Options{Params: s, Train: true, Type: c.dtype}, func(g *Graph) {
					x, residual := g.Variable(x, rows, in), g.Variable(z, rows, out)
					var y *Tensor
					if plain {
						low := g.Linear(g.Linear(x, g.Param(a), nil, nil), g.Param(b), nil, residual)
						y = g.Linear(x, g.Param(base.Weight), g.Param(base.Bias), low)
					} else {
						y = base.ForwardAdd(g, x, residual)
					}
					g.SetGrad(y, dy.View())
					g.KeepGrad(x)
					g.KeepGrad(residual)
					g.Keep(y)
					g.Backward()
					r.values("y", y.View(), rows*out)
					r.values("dx", g.Grad(x), rows*in)
					r.values("dresidual", g.Grad(residual), rows*out)
					r.values("da", s.Grads.View().Slice(a.offset, a.Bytes()), rank*in)
					r.values("db", s.Grads.View().Slice(b.offset, b.Bytes()), out*rank)
				})
			}
			for name, got := range grads["false"] {
				want, factor := grads["true"][name], 1.0
				if name == "db" {
					factor = scale
				}
				var largest, worst float64
				for i := range want {
					largest = max(largest, math.Abs(factor*float64(want[i])))
					worst = max(worst, math.Abs(float64(got[i])-factor*float64(want[i])))
				}
				if !(worst <= c.tolerance*largest) || largest == 0 {
					t.Errorf("%s is off by %g, the largest value is %g", name, worst, largest)
				}
			}
		})
	}
}
