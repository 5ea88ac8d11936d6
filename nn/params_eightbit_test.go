package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// eightBitParams is a set with moments in 8 bits on a device: parameters of less than a block, of
// blocks and a part of one, and of rows that are no whole blocks.
func eightBitParams(t *testing.T, dev engine.Device, half shaders.Type, limit int64) *Params {
	t.Helper()
	s := NewParams()
	for i, shape := range [][]int{{7}, {300, 3}, {4, 256}, {1000}} {
		s.Add(&Param{Name: fmt.Sprint(i), Shape: shape, Group: "a", Decay: i < 3, MatmulWeight: i == 2, Init: Init{Std: 1}})
	}
	s.Seal()
	s.EightBitMoments()
	if half.Half() {
		s.AddHalfCopy(half)
	}
	require.NoError(t, s.Shard(infoWithLimit(limit)))
	buffers := append([]*engine.Buffer{s.Weights, s.Grads}, s.Moments()...)
	if s.Half != nil {
		buffers = append(buffers, s.Half)
	}
	memories, err := engine.Allocate(dev, "parameters", buffers...)
	require.NoError(t, err)
	t.Cleanup(func() { engine.Free(memories) })
	require.NoError(t, s.Initialise(dev, 1))
	return s
}

// stepEightBit runs n steps with random gradients, and calls each after each with the values that
// AdamW in float64 has for every parameter's weights and moments, given those before the step.
func stepEightBit(t *testing.T, dev engine.Device, s *Params, n int, each func(p *Param, w, m, v []float64)) {
	t.Helper()
	o := AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
	program, err := Record("update", Options{Params: s, Train: true}, func(g *Graph) {
		g.Keep(o.Update(g, func(string) int { return 8 }))
	})
	require.NoError(t, err)
	plan, err := engine.NewPlan(program, 0)
	require.NoError(t, err)
	exe, err := dev.Compile(plan, nil)
	require.NoError(t, err)
	defer exe.Free()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		want := map[*Param][3][]float64{}
		var step [shaders.StepWords]uint32
		const lr = 0.01
		o.Set(&step, 8, lr, i+1)
		for _, p := range s.All() {
			w, m, v := widened(t, dev, s, s.Weights, p), widened(t, dev, s, s.M, p), widened(t, dev, s, s.V, p)
			gradient := make([]float32, len(w))
			for j := range gradient {
				gradient[j] = float32(random.NormFloat64() * math.Exp(random.NormFloat64()))
				g := float64(gradient[j])
				m[j], v[j] = 0.9*m[j]+0.1*g, 0.95*v[j]+0.05*g*g
				if p.Decay {
					w[j] -= lr * 0.1 * w[j]
				}
				c1, c2 := 1-math.Pow(0.9, float64(i+1)), 1-math.Pow(0.95, float64(i+1))
				w[j] -= lr * m[j] / c1 / (math.Sqrt(v[j]/c2) + 1e-8)
			}
			require.NoError(t, engine.UploadFloats(dev, s.GradView(p), gradient))
			want[p] = [3][]float64{w, m, v}
		}
		require.NoError(t, exe.Run(t.Context(), &step))
		for _, p := range s.All() {
			each(p, want[p][0], want[p][1], want[p][2])
		}
	}
}

// TestEightBitMoments compares steps with AdamW in float64: the weights are its, the moments are its
// up to half a code of the largest of their block, also in 16 bits and in several allocations.
func TestEightBitMoments(t *testing.T) {
	for _, c := range []struct {
		half  shaders.Type
		limit int64
		parts int
	}{{shaders.F32, 0, 1}, {shaders.BF16, 0, 1}, {shaders.F32, 4096, 4}} {
		dev := cpu.Open(0)
		defer dev.Close()
		s := eightBitParams(t, dev, c.half, c.limit)
		if n := len(s.M.Parts()); n != c.parts {
			t.Errorf("limit %d: the first moments are in %d allocations, want %d", c.limit, n, c.parts)
		}
		if total := s.M.Bytes + s.V.Bytes + s.MScale.Bytes + s.VScale.Bytes; total*4 > s.Weights.Bytes*2+s.Weights.Bytes/16 {
			t.Errorf("moments of %d bytes for weights of %d", total, s.Weights.Bytes)
		}
		stepEightBit(t, dev, s, 3, func(p *Param, w, m, v []float64) {
			closeTo(t, "weights "+p.Name, widened(t, dev, s, s.Weights, p), w, 1e-6)
			gotM, gotV := widened(t, dev, s, s.M, p), widened(t, dev, s, s.V, p)
			for start := 0; start < len(m); start += 256 {
				end := min(start+256, len(m))
				largestM, largestV := max(slices.Max(m[start:end]), -slices.Min(m[start:end])), slices.Max(v[start:end])
				for i := start; i < end; i++ {
					root := func(x float64) float64 { return math.Copysign(127*math.Sqrt(math.Abs(x)/largestM), x) }
					fourth := func(x float64) float64 { return 255 * math.Sqrt(math.Sqrt(x/largestV)) }
					if math.Abs(root(m[i])-root(gotM[i])) > 0.501 || math.Abs(fourth(v[i])-fourth(gotV[i])) > 0.501 && gotV[i] > 1e-9*largestV {
						t.Fatalf("%s[%d]: moments %g and %g, want %g and %g of %g and %g", p.Name, i, gotM[i], gotV[i], m[i], v[i], largestM, largestV)
					}
				}
			}
		})
		if c.half.Half() {
			p := s.ByName("2")
			half := make([]float32, p.Count())
			require.NoError(t, engine.DownloadFloats(dev, s.HalfView(p), half))
			closeTo(t, "bf16 weights", wide(half), widened(t, dev, s, s.Weights, p), 0.02) // 8 bits of values up to 4
		}
	}
}

// TestEightBitMomentsRestored: what Read and a snapshot return, Fill restores bit for bit, in any
// rows.
func TestEightBitMomentsRestored(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	s := eightBitParams(t, dev, shaders.F32, 0)
	stepEightBit(t, dev, s, 2, func(*Param, []float64, []float64, []float64) {})
	var snapshot Snapshot
	defer snapshot.Free()
	require.NoError(t, s.CopyTo(dev, &snapshot, s.Moments()...))
	restored := eightBitParams(t, dev, shaders.F32, 0)
	for i, b := range []*engine.Buffer{s.M, s.V} {
		for _, p := range s.All() {
			values, err := s.Read(dev, b, p)
			require.NoError(t, err)
			if !slices.Equal(values, snapshot.Values(b, p)) {
				t.Errorf("%s of %s: the snapshot differs from what Read returns", b.Label, p.Name)
			}
			to := []*engine.Buffer{restored.M, restored.V}[i]
			require.NoError(t, restored.Fill(dev, to, restored.ByName(p.Name), p.Shape[0], func(from int, dst []float32) error {
				copy(dst, values[from:])
				return nil
			}))
		}
	}
	for i, b := range s.Moments() {
		got, want := make([]uint32, b.Bytes/4), make([]uint32, b.Bytes/4)
		require.NoError(t, engine.Download(dev, b.View(), want))
		require.NoError(t, engine.Download(dev, restored.Moments()[i].View(), got))
		if !slices.Equal(got, want) {
			t.Errorf("%s: other bits than before", b.Label)
		}
		if slices.Max(want) == 0 {
			t.Errorf("%s: all zero", b.Label)
		}
	}
}
