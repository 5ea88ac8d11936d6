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

// TestFusedLinear compares layers that are computed by one matmul with the same layers
// computed one by one: outputs, and the gradients of the input, the weights and the biases.
func TestFusedLinear(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, c := range []struct {
		name             string
		bias, accumulate bool
		dtype            shaders.Type
		halfOnly         bool
		tolerance        float64
	}{
		// Sums of some hundred terms of size 1, in another order.
		{name: "f32", tolerance: 1e-5},
		{name: "f32 with biases", bias: true, tolerance: 1e-5},
		{name: "f32, adding", accumulate: true, tolerance: 1e-5},
		// One by one, the input's gradient is rounded three times.
		{name: "bf16", dtype: shaders.BF16, tolerance: 0.04},
		{name: "bf16 only", dtype: shaders.BF16, halfOnly: true, tolerance: 0.04},
		{name: "f16 with biases", bias: true, dtype: shaders.F16, tolerance: 0.005},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newFusedLinearModel(t, dev, c.bias, c.dtype, c.halfOnly)
			o := Options{Params: m.params, Train: !c.halfOnly, Accumulate: c.accumulate, Type: c.dtype}
			want, got := m.run(t, dev, o, false), m.run(t, dev, o, true)
			if len(want) != len(got) {
				t.Fatalf("%d results, want %d", len(got), len(want))
			}
			for name, w := range want {
				scale := float64(slices.Max(w))
				for i, g := range got[name] {
					if d := math.Abs(float64(g - w[i])); !(d <= c.tolerance*scale) {
						t.Fatalf("%s[%d] is %g, one by one %g", name, i, g, w[i])
					}
				}
			}
		})
	}
}

// TestFusedLinearFallback: layers that are not one matrix in memory, or of which only some
// take gradients, are not fused.
func TestFusedLinearFallback(t *testing.T) {
	layers := func(groups [2]string, rows, cols int, bias [2]bool) (*Params, fusedLinear) {
		s := NewParams()
		var fused fusedLinear
		for i, group := range groups {
			fused = append(fused, Declarer{Params: s, Group: group}.Linear(fmt.Sprint("layer", i), cols, rows, bias[i], Init{}))
		}
		s.Seal()
		return s, fused
	}
	both := [2]string{"one", "one"}
	for _, c := range []struct {
		name     string
		groups   [2]string
		rows     int
		cols     int
		bias     [2]bool
		halfOnly bool
		noFusion bool // the recording's NoFusion
		want     bool
	}{
		{name: "contiguous", groups: both, rows: 4, cols: 32, want: true},
		{name: "with biases", groups: both, rows: 128, cols: 4, bias: [2]bool{true, true}, want: true},
		{name: "in 16 bits only", groups: both, rows: 4, cols: 32, halfOnly: true, want: true},
		{name: "without fusion", groups: both, rows: 4, cols: 32, noFusion: true},
		{name: "a gap", groups: both, rows: 4, cols: 33},
		{name: "a gap between biases", groups: both, rows: 64, cols: 4, bias: [2]bool{true, true}},
		{name: "one bias", groups: both, rows: 128, cols: 4, bias: [2]bool{true, false}},
		{name: "one frozen", groups: [2]string{"one", "two"}, rows: 4, cols: 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, fused := layers(c.groups, c.rows, c.cols, c.bias)
			s.Freeze("two")
			if c.halfOnly {
				s.StoreHalf(shaders.BF16)
			}
			_, err := Record("fused", Options{Params: s, Train: !c.halfOnly, NoFusion: c.noFusion}, func(g *Graph) {
				x := g.New("x", 3, c.cols)
				if c.halfOnly {
					g.Type = shaders.BF16
				}
				if _, ok := fused.forward(g, x); ok != c.want {
					t.Errorf("fused: %t, want %t", ok, c.want)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestJoinViewsOfTwoBuffers: contiguous offsets in two buffers are not joined.
func TestJoinViewsOfTwoBuffers(t *testing.T) {
	a, b := engine.NewBuffer("a", 512), engine.NewBuffer("b", 1024)
	if _, ok := joinViews([]engine.View{a.View(), b.View().Slice(512, 512)}); ok {
		t.Error("views of two buffers were joined")
	}
}

// fusedLinearModel is three layers of one input x [20,64] with the gradients of their outputs,
// separate and side by side.
type fusedLinearModel struct {
	params *Params
	layers fusedLinear
	x      *engine.Buffer
	dy     []*engine.Buffer
	all    *engine.Buffer
}

const fusedRows, fusedInputs = 20, 64

func newFusedLinearModel(t *testing.T, dev engine.Device, bias bool, dtype shaders.Type, halfOnly bool) *fusedLinearModel {
	m := &fusedLinearModel{params: NewParams()}
	buffer := func(name string, cols int) *engine.Buffer {
		b := engine.NewBuffer(name, engine.BufferSize(dtype, fusedRows*cols))
		b.Type = dtype
		return b
	}
	d := Declarer{Params: m.params, Group: "decoder"}
	var all []float32
	values := map[*engine.Buffer][]float32{}
	random := &Param{Name: "values", Init: Init{Std: 1}}
	for i, out := range []int{256, 128, 128} {
		m.layers = append(m.layers, d.Linear(fmt.Sprint("layer", i), fusedInputs, out, bias, FanIn(fusedInputs)))
		dy := buffer("dy", out)
		values[dy] = random.Draw(uint64(i), fusedRows*out)
		m.dy, all = append(m.dy, dy), sideBySide(all, values[dy])
	}
	m.x, m.all = buffer("x", fusedInputs), buffer("dy", len(all)/fusedRows)
	values[m.x], values[m.all] = random.Draw(9, fusedRows*fusedInputs), all
	m.params.Seal()
	switch {
	case halfOnly:
		m.params.StoreHalf(dtype)
	case dtype.Half():
		m.params.AddHalfCopy(dtype)
	}
	buffers := append(m.dy, m.x, m.all, m.params.Weights, m.params.Grads)
	if m.params.Half != nil {
		buffers = append(buffers, m.params.Half)
	}
	memories, err := engine.Allocate(dev, "test", buffers...)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, memory := range memories {
			memory.Free()
		}
	})
	for b, v := range values {
		require.NoError(t, engine.UploadFloats(dev, b.View(), v))
	}
	require.NoError(t, m.params.Initialise(dev, 1))
	require.NoError(t, m.params.SyncHalf(t.Context(), dev))
	return m
}

// run returns the outputs, side by side, and the gradients.
func (m *fusedLinearModel) run(t *testing.T, dev engine.Device, o Options, fused bool) map[string][]float32 {
	t.Helper()
	if o.Train {
		for i, p := range m.params.All() {
			require.NoError(t, m.params.writeGrads(dev, p, p.Draw(uint64(i), size(p.Shape))))
		}
	}
	var ys []*Tensor
	var dx engine.View
	program, err := Record("fused", o, func(g *Graph) {
		x := g.Variable(m.x, fusedRows, fusedInputs)
		if fused {
			y, ok := m.layers.forward(g, x)
			if !ok {
				t.Fatal("the layers are not fused")
			}
			ys = append(ys, g.Keep(y))
			g.SetGrad(y, m.all.View())
		} else {
			for i, l := range m.layers {
				ys = append(ys, g.Keep(l.Forward(g, x)))
				g.SetGrad(ys[i], m.dy[i].View())
			}
		}
		g.KeepGrad(x)
		g.Backward()
		dx = g.Grad(x)
	})
	require.NoError(t, err)
	plan, err := engine.NewPlan(program, 0)
	require.NoError(t, err)
	exe, err := dev.Compile(plan, nil)
	require.NoError(t, err)
	defer exe.Free()
	require.NoError(t, exe.Run(t.Context(), &[shaders.StepWords]uint32{}))
	results := map[string][]float32{}
	read := func(v engine.View, n int) []float32 {
		values := make([]float32, n)
		require.NoError(t, engine.DownloadTempFloats(dev, exe, v, values))
		return values
	}
	for _, y := range ys {
		results["y"] = sideBySide(results["y"], read(y.View(), y.Size()))
	}
	if !o.Train {
		return results
	}
	results["dx"] = read(dx, fusedRows*fusedInputs)
	for _, p := range m.params.All() {
		results["d"+p.Name], err = m.params.Read(dev, m.params.Grads, p)
		require.NoError(t, err)
	}
	return results
}

// sideBySide appends each row of b to that of a.
func sideBySide(a, b []float32) (both []float32) {
	n, m := len(a)/fusedRows, len(b)/fusedRows
	for r := range fusedRows {
		both = append(append(both, a[r*n:][:n]...), b[r*m:][:m]...)
	}
	return both
}
