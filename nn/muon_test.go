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

// matrix is a float64 matrix, row by row.
type matrix struct {
	rows, cols int
	values     []float64
}

func (a matrix) times(b matrix) matrix {
	c := matrix{a.rows, b.cols, make([]float64, a.rows*b.cols)}
	for i := range a.rows {
		for j := range b.cols {
			for k := range a.cols {
				c.values[i*c.cols+j] += a.values[i*a.cols+k] * b.values[k*b.cols+j]
			}
		}
	}
	return c
}

func (a matrix) transposed() matrix {
	t := matrix{a.cols, a.rows, make([]float64, len(a.values))}
	for i := range a.rows {
		for j := range a.cols {
			t.values[j*t.cols+i] = a.values[i*a.cols+j]
		}
	}
	return t
}

// plus is x·a + y·b.
func (a matrix) plus(x float64, b matrix, y float64) matrix {
	c := matrix{a.rows, a.cols, make([]float64, len(a.values))}
	for i := range c.values {
		c.values[i] = x*a.values[i] + y*b.values[i]
	}
	return c
}

func (a matrix) norm() (n float64) {
	for _, v := range a.values {
		n = math.Hypot(n, v)
	}
	return n
}

// muonStep is a step of Muon as Jordan et al. write it, with Moonlight's scale: w and momentum m
// are updated.
func muonStep(o Muon, w, m *matrix, g matrix, lr, decay float64) {
	*m = m.plus(o.Momentum, g, 1-o.Momentum)
	x := m.plus(o.Momentum, g, 1-o.Momentum)
	x = x.plus(1/(x.norm()+muonEps), x, 0)
	if x.rows > x.cols {
		x = x.transposed()
	}
	for range newtonSchulzSteps {
		a := x.times(x.transposed())
		b := a.plus(newtonSchulz.b, a.times(a), newtonSchulz.c)
		x = x.plus(newtonSchulz.a, b.times(x), 1)
	}
	if w.rows > w.cols {
		x = x.transposed()
	}
	lr *= o.Scale
	*w = w.plus(1-lr*decay, x, -lr*0.2*math.Sqrt(float64(max(w.rows, w.cols))))
}

// TestMuon compares three steps with muonStep, one of them with gradients that are not finite, which
// changes nothing. A parameter that is not marked is updated as without Muon.
func TestMuon(t *testing.T) {
	for _, c := range []struct {
		rows, cols int
		half       shaders.Type
	}{{24, 24, shaders.F32}, {8, 33, shaders.F32}, {40, 12, shaders.F32}, {1, 5, shaders.F32}, {96, 256, shaders.F32}, {16, 34, shaders.BF16}} {
		t.Run(fmt.Sprintf("%dx%d %v", c.rows, c.cols, c.half), func(t *testing.T) {
			dev := cpu.Open(0)
			defer dev.Close()
			s := NewParams()
			plain := s.Add(&Param{Name: "plain", Shape: []int{7, 3}, Group: "a", Decay: true, MatmulWeight: true, Init: Init{Std: 1}})
			marked := s.Add(&Param{Name: "marked", Shape: []int{c.rows, c.cols}, Group: "a", Decay: true, MatmulWeight: true, Muon: true, Init: Init{Std: 1}})
			alike := s.Add(&Param{Name: "alike", Shape: []int{7, 3}, Group: "a", Decay: true, MatmulWeight: true, Init: Init{Std: 1}})
			s.Seal()
			if c.half.Half() {
				s.AddHalfCopy(c.half)
			}
			buffers := []*engine.Buffer{s.Weights, s.Grads, s.M, s.V}
			if s.Half != nil {
				buffers = append(buffers, s.Half)
			}
			memories, err := engine.Allocate(dev, "parameters", buffers...)
			require.NoError(t, err)
			defer engine.Free(memories)
			require.NoError(t, s.Initialise(dev, 1))
			first, err := s.Read(dev, s.Weights, plain)
			require.NoError(t, err)
			require.NoError(t, s.Write(dev, alike, first))

			o := AdamW{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: 0.1, Muon: Muon{Momentum: 0.95, Scale: 2}}
			program, err := Record("update", Options{Params: s, Train: true}, func(g *Graph) {
				g.Keep(o.Update(g, func(string) int { return 8 }))
			})
			require.NoError(t, err)
			plan, err := engine.NewPlan(program, 0)
			require.NoError(t, err)
			exe, err := dev.Compile(plan, nil)
			require.NoError(t, err)
			defer exe.Free()

			w := matrix{c.rows, c.cols, widened(t, dev, s, s.Weights, marked)}
			m := matrix{c.rows, c.cols, make([]float64, c.rows*c.cols)}
			random := rand.New(rand.NewPCG(1, 2))
			var step [shaders.StepWords]uint32
			for i, broken := range []bool{false, true, false} {
				g := matrix{c.rows, c.cols, make([]float64, c.rows*c.cols)}
				gradient := make([]float32, len(g.values))
				for i := range gradient {
					gradient[i] = float32(random.NormFloat64())
					g.values[i] = float64(gradient[i])
				}
				if broken {
					gradient[0] = float32(math.NaN())
				}
				require.NoError(t, engine.UploadFloats(dev, s.view(s.Grads, marked), gradient))
				other := slices.Repeat([]float32{float32(i) - 0.5}, 21)
				require.NoError(t, engine.UploadFloats(dev, s.view(s.Grads, plain), other))
				require.NoError(t, engine.UploadFloats(dev, s.view(s.Grads, alike), other))
				const lr = 0.01
				o.Set(&step, 8, lr, i+1)
				require.NoError(t, exe.Run(t.Context(), &step))
				if !broken {
					muonStep(o.Muon, &w, &m, g, lr, o.WeightDecay)
				}
				// Float32 roundings of sums over 256 terms, which five iterations amplify.
				closeTo(t, "weights", widened(t, dev, s, s.Weights, marked), w.values, 2e-5)
				closeTo(t, "momentum", widened(t, dev, s, s.M, marked), m.values, 1e-6)
				if c.half.Half() {
					half := make([]float32, len(gradient))
					require.NoError(t, engine.DownloadFloats(dev, s.HalfView(marked), half))
					closeTo(t, "bf16 weights", wide(half), w.values, 0.02) // 8 bits of values up to 4
				}
			}
			a, b := widened(t, dev, s, s.Weights, plain), widened(t, dev, s, s.Weights, alike)
			if !slices.Equal(a, b) || slices.Equal(a, wide(first)) {
				t.Error("AdamW's parameters before and after Muon's are not updated alike")
			}
			if v := s.In(s.V); len(v) != 2 || slices.Contains(v, marked) {
				t.Errorf("%d parameters have second moments, want the two of AdamW", len(v))
			}
			if v := widened(t, dev, s, s.V, marked); slices.Max(v) != 0 || slices.Min(v) != 0 {
				t.Error("Muon wrote second moments")
			}
		})
	}
}

// TestOrthogonalize: five iterations take the singular values of a matrix to about 1.
func TestOrthogonalize(t *testing.T) {
	for _, shape := range [][2]int{{32, 32}, {16, 60}, {60, 16}} {
		dev := cpu.Open(0)
		defer dev.Close()
		rows, cols := shape[0], shape[1]
		in := engine.NewBuffer("x", int64(4*rows*cols))
		memories, err := engine.Allocate(dev, "x", in)
		require.NoError(t, err)
		defer engine.Free(memories)
		random := rand.New(rand.NewPCG(3, 4))
		x := make([]float32, rows*cols)
		var norm float64
		for i := range x {
			x[i] = float32(random.NormFloat64())
			norm = math.Hypot(norm, float64(x[i]))
		}
		for i := range x {
			x[i] /= float32(norm)
		}
		require.NoError(t, engine.Upload(dev, in.View(), x))
		var y *Tensor
		var scale float64
		program, err := Record("orthogonalize", Options{}, func(g *Graph) {
			y, scale = g.orthogonalize(Input(in, rows, cols))
			g.Keep(y)
		})
		require.NoError(t, err)
		plan, err := engine.NewPlan(program, 0)
		require.NoError(t, err)
		exe, err := dev.Compile(plan, nil)
		require.NoError(t, err)
		defer exe.Free()
		require.NoError(t, exe.Run(t.Context(), new([shaders.StepWords]uint32)))
		got := make([]float32, rows*cols)
		require.NoError(t, engine.DownloadTemp(dev, exe, y.View(), got))
		o := matrix{rows, cols, wide(got)}
		o = o.plus(scale, o, 0)
		if rows > cols {
			o = o.transposed()
		}
		gram := o.times(o.transposed())
		for i := range gram.rows {
			for j := range gram.cols {
				v := gram.values[i*gram.cols+j]
				// Singular values are between 0.6 and 1.25, so those of the Gram matrix between
				// 0.36 and 1.56, and so is its diagonal; off it they differ by at most 0.6.
				if i == j && (v < 0.36 || v > 1.56) || i != j && math.Abs(v) > 0.6 {
					t.Errorf("%v: element %d,%d of the Gram matrix is %v", shape, i, j, v)
				}
			}
		}
	}
}

func widened(t *testing.T, dev engine.Device, s *Params, from *engine.Buffer, p *Param) []float64 {
	t.Helper()
	values, err := s.Read(dev, from, p)
	require.NoError(t, err)
	return wide(values)
}

func wide(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// closeTo compares values, with a tolerance relative to the largest one.
func closeTo(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(v))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tolerance*largest) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}
