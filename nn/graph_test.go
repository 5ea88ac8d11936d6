package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// gradRun records with inputs on the CPU, runs, and reads the views that f named.
type gradRun struct {
	t    *testing.T
	dev  engine.Device
	read map[string]func(exe engine.Executable) []float32

	step [shaders.StepWords]uint32
}

func newGradRun(t *testing.T) *gradRun {
	dev := cpu.Open(0)
	t.Cleanup(func() { dev.Close() })
	return &gradRun{t: t, dev: dev, read: map[string]func(engine.Executable) []float32{}}
}

// buffer is a caller's buffer with random values.
func (r *gradRun) buffer(name string, seed uint64, n int) *engine.Buffer {
	b := engine.NewBuffer(name, int64(4*n))
	_, err := engine.Allocate(r.dev, name, b)
	require.NoError(r.t, err)
	require.NoError(r.t, engine.UploadFloats(r.dev, b.View(), (&Param{Name: name, Init: Init{Std: 1}}).Draw(seed, n)))
	return b
}

// values reads a view after the run.
func (r *gradRun) values(name string, v engine.View, n int) {
	r.read[name] = func(exe engine.Executable) []float32 {
		out := make([]float32, n)
		if v.Buffer.Temporary() {
			require.NoError(r.t, engine.DownloadTempFloats(r.dev, exe, v, out))
		} else {
			require.NoError(r.t, engine.Download(r.dev, v, out))
		}
		return out
	}
}

func (r *gradRun) run(o Options, f func(g *Graph)) map[string][]float32 {
	r.t.Helper()
	program, err := Record("test", o, f)
	require.NoError(r.t, err)
	plan, err := engine.NewPlan(program, 0)
	require.NoError(r.t, err)
	exe, err := r.dev.Compile(plan, nil)
	require.NoError(r.t, err)
	defer exe.Free()
	require.NoError(r.t, exe.Run(r.t.Context(), &r.step))
	out := map[string][]float32{}
	for name, read := range r.read {
		out[name] = read(exe)
	}
	return out
}

// TestGradientsAreKept: a gradient that is read later, or that belongs to the caller, keeps
// its value, although the sum before it passes the gradient on and another kernel adds to it.
func TestGradientsAreKept(t *testing.T) {
	const n = 64
	for _, recompute := range []bool{false, true} {
		t.Run(fmt.Sprint("recompute ", recompute), func(t *testing.T) {
			r := newGradRun(t)
			x, w, dz := r.buffer("x", 1, n), r.buffer("w", 2, n*n), r.buffer("dz", 3, n)
			before, weights := make([]float32, n), (&Param{Name: "w", Init: FanIn(n)}).Draw(2, n*n)
			require.NoError(t, engine.Upload(r.dev, w.View(), weights))
			require.NoError(t, engine.Download(r.dev, dz.View(), before))
			got := r.run(Options{Train: true, Recompute: recompute}, func(g *Graph) {
				w := Input(w, n, n)
				// block(a) = a + a·wᵀ·wᵀ: the sum passes its gradient to a, and the matmul adds to it.
				block := func(a *Tensor) *Tensor { return g.Linear(g.Linear(a, w, nil, nil), w, nil, a) }
				a := g.Linear(g.Variable(x, 1, n), w, nil, nil)
				y := g.Checkpointed(a, block)
				z := block(y)
				g.SetGrad(z, dz.View())
				g.KeepGrad(z)
				g.KeepGrad(y)
				g.KeepGrad(a)
				g.Backward()
				r.values("dz", g.Grad(z), n)
				r.values("dy", g.Grad(y), n)
				r.values("da", g.Grad(a), n)
				r.values("caller's", dz.View(), n)
			})
			if !slices.Equal(got["caller's"], before) || !slices.Equal(got["dz"], before) {
				t.Error("the caller's gradient was overwritten")
			}
			dy := blockGradient(before, weights)
			da := blockGradient(dy, weights)
			for i := range n {
				// float32 sums of 64 terms, each of size 1 in all.
				if math.Abs(float64(got["dy"][i]-dy[i])) > 1e-5 || math.Abs(float64(got["da"][i]-da[i])) > 1e-5 {
					t.Fatalf("%d: dy %v, da %v, want %v, %v", i, got["dy"][i], got["da"][i], dy[i], da[i])
				}
			}
		})
	}
}

// blockGradient is d + d·w·w for w [n,n], in float64.
func blockGradient(d, w []float32) []float32 {
	n := len(d)
	times := func(d []float64) []float64 {
		out := make([]float64, n)
		for i := range n {
			for j := range n {
				out[j] += d[i] * float64(w[i*n+j])
			}
		}
		return out
	}
	wide, sum := make([]float64, n), make([]float32, n)
	for i := range d {
		wide[i] = float64(d[i])
	}
	for i, x := range times(times(wide)) {
		sum[i] = float32(wide[i] + x)
	}
	return sum
}

// TestTwoHeads: two heads over one input add their gradients.
func TestTwoHeads(t *testing.T) {
	const tokens, d, vocabulary = 8, 16, 32
	gradient := func(heads ...int) []float32 {
		r := newGradRun(t)
		x := r.buffer("x", 1, tokens*d)
		ints := func(name string, values ...int32) *Tensor {
			b := engine.NewBuffer(name, int64(4*len(values)))
			_, err := engine.Allocate(r.dev, name, b)
			require.NoError(t, err)
			require.NoError(t, engine.Upload(r.dev, b.View(), values))
			return Input(b, len(values))
		}
		return r.run(Options{Train: true}, func(g *Graph) {
			in := g.Variable(x, tokens, d)
			for _, i := range heads {
				w := g.Variable(r.buffer(fmt.Sprint("w", i), uint64(10+i), vocabulary*d), vocabulary, d)
				g.HeadCrossEntropy(in, w, Targets{Rows: ints("rows", 1, int32(2+i), 5), IDs: ints("ids", 3, 4, int32(5+i))}, 0)
			}
			g.KeepGrad(in)
			g.Backward()
			r.values("dx", g.Grad(in), tokens*d)
		})["dx"]
	}
	first, second, both := gradient(0), gradient(1), gradient(0, 1)
	for i := range both {
		if want := first[i] + second[i]; math.Abs(float64(both[i]-want)) > 1e-6 { // one rounding of numbers below 1
			t.Fatalf("%d: %v, one by one %v and %v", i, both[i], first[i], second[i])
		}
	}
	if slices.Equal(both, second) || slices.Equal(both, first) {
		t.Error("the heads have the same gradient")
	}
}

// TestFusedAndSingle: a layer that is used both fused and alone takes both gradients,
// whichever comes first.
func TestFusedAndSingle(t *testing.T) {
	const rows = 4
	gradients := func(uses ...string) map[string][]float32 {
		r := newGradRun(t)
		s := NewParams()
		var layers fusedLinear
		for i := range 2 {
			layers = append(layers, Declarer{Params: s, Group: "one"}.Linear(fmt.Sprint("layer", i), 32, 4, false, FanIn(32)))
		}
		s.Seal()
		_, err := engine.Allocate(r.dev, "weights", s.Weights, s.Grads)
		require.NoError(t, err)
		require.NoError(t, s.Initialise(r.dev, 1))
		for i, p := range s.All() { // previous values must not count
			require.NoError(t, s.writeGrads(r.dev, p, p.Draw(uint64(7+i), size(p.Shape))))
		}
		x := r.buffer("x", 5, rows*32)
		got := r.run(Options{Train: true, Params: s}, func(g *Graph) {
			for _, use := range uses {
				in := g.Variable(x, rows, 32)
				var y *Tensor
				if use == "fused" {
					var ok bool
					if y, ok = layers.forward(g, in); !ok {
						t.Fatal("the layers are not fused")
					}
				} else {
					y = layers[1].Forward(g, in)
				}
				g.SetGrad(y, r.buffer("dy "+use, 6, y.Size()).View())
			}
			g.Backward()
		})
		for _, p := range s.All() {
			got[p.Name], err = s.Read(r.dev, s.Grads, p)
			require.NoError(t, err)
		}
		return got
	}
	whole, single := gradients("fused"), gradients("single")
	for _, uses := range [][]string{{"fused", "single"}, {"single", "fused"}, {"fused", "fused"}} {
		got := gradients(uses...)
		for _, name := range []string{"layer0.weight", "layer1.weight"} {
			for i, g := range got[name] {
				want := whole[name][i]
				switch {
				case uses[0] == uses[1]:
					want *= 2
				case name == "layer1.weight":
					want += single[name][i]
				}
				if math.Abs(float64(g-want)) > 1e-5 { // sums of four terms of size 1
					t.Fatalf("%v: %s[%d] is %v, want %v", uses, name, i, g, want)
				}
			}
		}
	}
}
