package nn

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/shaders/half"
	"patchwork/shaders/quant"
)

// blockRounded are values as blocks of a format hold them.
func blockRounded(f quant.Format, x []float32) []float32 {
	data, y := make([]byte, f.Bytes(len(x))), make([]float32, len(x))
	f.Encode(data, x)
	f.Decode(y, data)
	return y
}

// storedAs are values as a type holds them.
func storedAs(t shaders.Type, x []float32) []float32 {
	y := slices.Clone(x)
	for i := range y {
		if t == shaders.BF16 {
			y[i] = half.BF16.Round(y[i])
		}
	}
	return y
}

// TestFakeQuant: a layer and a lookup of matrices that are rounded have the outputs and the
// gradients of the same with weights of those values, to the bit. After an update the copy is the
// new master weights rounded, and matrices that are not rounded stay as they are.
func TestFakeQuant(t *testing.T) {
	const rows, in, out, vocabulary = 9, 64, 96, 11
	formats := map[string]quant.Format{"w": quant.Q4_0, "table": quant.Q8_0}
	for _, c := range []struct {
		dtype     shaders.Type
		optimizer string
	}{{shaders.F32, "adamw"}, {shaders.F32, "muon"}, {shaders.F32, "adamw8bit"}, {shaders.BF16, "adamw"}, {shaders.BF16, "muon"}, {shaders.BF16, "adamw8bit"}} {
		t.Run(fmt.Sprintf("%v %s", c.dtype, c.optimizer), func(t *testing.T) {
			results := map[bool]map[string][]float32{}
			for _, rounds := range []bool{true, false} {
				r := newGradRun(t)
				s := NewParams()
				add := func(name string, shape ...int) *Param {
					return s.Add(&Param{Name: name, Shape: shape, Group: "a", Decay: true, MatmulWeight: true, Init: FanIn(in)})
				}
				w, table := add("w", out, in), add("table", vocabulary, in)
				w.Muon = c.optimizer == "muon"
				add("plain", out, in)
				s.Seal()
				if c.optimizer == "adamw8bit" {
					s.EightBitMoments()
				}
				s.AddHalfCopy(c.dtype)
				if rounds {
					require.NoError(t, s.FakeQuant(func(p *Param) (quant.Format, bool) { f, ok := formats[p.Name]; return f, ok }))
				}
				memories, err := engine.Allocate(r.dev, "test", append(s.Moments(), s.Weights, s.Grads, s.Half)...)
				require.NoError(t, err)
				defer engine.Free(memories)
				require.NoError(t, s.Initialise(r.dev, 1))
				if !rounds {
					for _, p := range []*Param{w, table} {
						require.NoError(t, s.Write(r.dev, p, blockRounded(formats[p.Name], p.Draw(1, size(p.Shape)))))
					}
				}
				require.NoError(t, s.SyncHalf(t.Context(), r.dev))
				ids, slots := engine.NewBuffer("ids", 4*vocabulary), engine.NewBuffer("slots", 4*vocabulary)
				ids.Type, slots.Type = shaders.I32, shaders.I32
				_, err = engine.Allocate(r.dev, "tokens", ids, slots)
				require.NoError(t, err)
				require.NoError(t, engine.Upload(r.dev, ids.View(), []int32{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}))
				require.NoError(t, engine.Upload(r.dev, slots.View(), slices.Repeat([]int32{-1}, vocabulary)))
				x, dy := r.buffer("x", 3, rows*in), r.buffer("dy", 6, rows*out)
				o := AdamW{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: 0.1, Muon: Muon{Momentum: 0.95, Scale: 1}}
				o.Set(&r.step, 8, 0.01, 1)
				results[rounds] = r.run(Options{Params: s, Train: true, Type: c.dtype}, func(g *Graph) {
					x := g.Variable(x, rows, in)
					y := g.Linear(x, g.Param(w), nil, nil)
					g.SetGrad(y, dy.View())
					g.KeepGrad(x)
					g.Keep(y)
					rows := g.Keep(g.Embed(TokenIndex{IDs: Input(ids, vocabulary), Slots: Input(slots, vocabulary)}, g.Param(table), nil, 1))
					g.Backward()
					g.fill(s.GradView(table), vocabulary*in, 0.5)
					g.Keep(o.Update(g, func(string) int { return 8 }))
					r.values("y", y.View(), 9*out)
					r.values("lookup", rows.View(), vocabulary*in)
					r.values("dx", g.Grad(x), 9*in)
					r.values("dw", s.GradView(w), out*in)
				})
				for _, p := range s.All() {
					master := require.Value(s.Read(r.dev, s.Weights, p))(t)
					if slices.Equal(master, p.Draw(1, size(p.Shape))) {
						t.Errorf("%s was not updated", p.Name)
					}
					if f, ok := formats[p.Name]; ok && rounds {
						master = blockRounded(f, master)
					}
					copied := make([]float32, size(p.Shape))
					require.NoError(t, engine.DownloadFloats(r.dev, s.HalfView(p), copied))
					if !slices.Equal(copied, storedAs(c.dtype, master)) {
						t.Errorf("rounds %t: the copy of %s is not its weights after the update", rounds, p.Name)
					}
				}
			}
			results[false]["lookup"] = storedAs(c.dtype, results[false]["lookup"])
			for name, want := range results[false] {
				if got := results[true][name]; !slices.Equal(got, want) || slices.Max(got) == 0 {
					t.Errorf("%s differs from that of rounded weights", name)
				}
			}
		})
	}
}

// TestFakeQuantRows: a matrix whose rows are not whole blocks is an error.
func TestFakeQuantRows(t *testing.T) {
	s := NewParams()
	s.Add(&Param{Name: "w", Shape: []int{4, 48}, MatmulWeight: true})
	s.Seal()
	s.AddHalfCopy(shaders.F32)
	if err := s.FakeQuant(func(*Param) (quant.Format, bool) { return quant.Q4_0, true }); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
