package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/shaders"
)

// TestStack holds layers that are computed by one product to the same layers computed
// one by one: outputs, and the gradients of the input, the weights and the biases.
func TestStack(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, c := range []struct {
		name             string
		bias, accumulate bool
		dtype            shaders.Type
		packed           bool
		tolerance        float64
	}{
		// Sums of some hundred terms of size 1, in another order.
		{name: "f32", tolerance: 1e-5},
		{name: "f32 with biases", bias: true, tolerance: 1e-5},
		{name: "f32, adding", accumulate: true, tolerance: 1e-5},
		// One by one, the input's gradient is rounded three times.
		{name: "bf16", dtype: shaders.BF16, tolerance: 0.04},
		{name: "bf16, packed", dtype: shaders.BF16, packed: true, tolerance: 0.04},
		{name: "f16 with biases", bias: true, dtype: shaders.F16, tolerance: 0.005},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newStackModel(t, dev, c.bias, c.dtype, c.packed)
			o := Options{Params: m.params, Train: !c.packed, Accumulate: c.accumulate, Type: c.dtype}
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

// TestStackApart: layers that are no one matrix in memory, or take gradients apart,
// are no stack.
func TestStackApart(t *testing.T) {
	layers := func(groups [2]string, rows, cols int, bias [2]bool) (*Params, Stack) {
		s := NewParams()
		var stack Stack
		for i, group := range groups {
			stack = append(stack, Declarer{s, group}.Linear(fmt.Sprint("layer", i), cols, rows, bias[i], Init{}))
		}
		s.Seal()
		return s, stack
	}
	both := [2]string{"one", "one"}
	for _, c := range []struct {
		name   string
		groups [2]string
		rows   int
		cols   int
		bias   [2]bool
		packed bool
		want   bool
	}{
		{name: "adjoining", groups: both, rows: 4, cols: 32, want: true},
		{name: "with biases", groups: both, rows: 128, cols: 4, bias: [2]bool{true, true}, want: true},
		{name: "packed", groups: both, rows: 4, cols: 32, packed: true, want: true},
		{name: "a gap", groups: both, rows: 4, cols: 33},
		{name: "a gap between biases", groups: both, rows: 64, cols: 4, bias: [2]bool{true, true}},
		{name: "one bias", groups: both, rows: 128, cols: 4, bias: [2]bool{true, false}},
		{name: "frozen apart", groups: [2]string{"one", "two"}, rows: 4, cols: 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, stack := layers(c.groups, c.rows, c.cols, c.bias)
			s.Freeze("two")
			if c.packed {
				s.Pack(shaders.BF16)
			}
			_, err := Record("stack", Options{Params: s, Train: !c.packed}, func(g *Graph) {
				x := g.New("x", 3, c.cols)
				if c.packed {
					g.Type = shaders.BF16
				}
				if _, ok := stack.Forward(g, x); ok != c.want {
					t.Errorf("a stack: %t, want %t", ok, c.want)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestStackOfTwoBuffers: adjoining places in two buffers are two.
func TestStackOfTwoBuffers(t *testing.T) {
	a, b := engine.NewBuffer("a", 512), engine.NewBuffer("b", 1024)
	if _, ok := adjoin([]engine.View{a.View(), b.View().Slice(512, 512)}); ok {
		t.Error("views of two buffers adjoin")
	}
}

// stackModel is three layers of one input x [20,64] with the gradients of their outputs,
// of each and side by side.
type stackModel struct {
	params *Params
	layers Stack
	x      *engine.Buffer
	dy     []*engine.Buffer
	all    *engine.Buffer
}

const stackRows, stackInputs = 20, 64

func newStackModel(t *testing.T, dev engine.Device, bias bool, dtype shaders.Type, packed bool) *stackModel {
	m := &stackModel{params: NewParams()}
	buffer := func(name string, cols int) *engine.Buffer {
		b := engine.NewBuffer(name, engine.BufferSize(dtype, stackRows*cols))
		b.Type = dtype
		return b
	}
	d := Declarer{m.params, "decoder"}
	var all []float32
	values := map[*engine.Buffer][]float32{}
	random := &Param{Name: "values", Init: Init{Std: 1}}
	for i, out := range []int{256, 128, 128} {
		m.layers = append(m.layers, d.Linear(fmt.Sprint("layer", i), stackInputs, out, bias, FanIn(stackInputs)))
		dy := buffer("dy", out)
		values[dy] = random.Draw(uint64(i), stackRows*out)
		m.dy, all = append(m.dy, dy), besides(all, values[dy])
	}
	m.x, m.all = buffer("x", stackInputs), buffer("dy", len(all)/stackRows)
	values[m.x], values[m.all] = random.Draw(9, stackRows*stackInputs), all
	m.params.Seal()
	switch {
	case packed:
		m.params.Pack(dtype)
	case dtype.Half():
		m.params.Halve(dtype)
	}
	buffers := append(m.dy, m.x, m.all, m.params.Weights, m.params.Grads)
	if m.params.Narrow != nil {
		buffers = append(buffers, m.params.Narrow)
	}
	memories, err := engine.Allocate(dev, "test", buffers...)
	must(t, err)
	t.Cleanup(func() {
		for _, memory := range memories {
			memory.Free()
		}
	})
	for b, v := range values {
		must(t, engine.UploadFloats(dev, b.View(), v))
	}
	must(t, m.params.Initialise(dev, 1))
	must(t, m.params.Refresh(t.Context(), dev))
	return m
}

// run returns the outputs, side by side, and the gradients.
func (m *stackModel) run(t *testing.T, dev engine.Device, o Options, stacked bool) map[string][]float32 {
	t.Helper()
	if o.Train {
		for i, p := range m.params.All() {
			must(t, m.params.WriteTo(dev, m.params.Grads, p, p.Draw(uint64(i), size(p.Shape))))
		}
	}
	var ys []*Tensor
	var dx engine.View
	program, err := Record("stack", o, func(g *Graph) {
		x := g.Variable(m.x, stackRows, stackInputs)
		if stacked {
			y, ok := m.layers.Forward(g, x)
			if !ok {
				t.Fatal("the layers are no stack")
			}
			ys = append(ys, g.Keep(y))
			g.Seed(y, m.all.View())
		} else {
			for i, l := range m.layers {
				ys = append(ys, g.Keep(l.Forward(g, x)))
				g.Seed(ys[i], m.dy[i].View())
			}
		}
		g.KeepGrad(x)
		g.Backward()
		dx = g.Grad(x)
	})
	must(t, err)
	plan, err := engine.NewPlan(program, 0)
	must(t, err)
	exe, err := dev.Compile(plan, nil)
	must(t, err)
	defer exe.Free()
	must(t, exe.Run(t.Context(), &[shaders.StepWords]uint32{}))
	results := map[string][]float32{}
	read := func(v engine.View, n int) []float32 {
		values := make([]float32, n)
		must(t, engine.DownloadTempFloats(dev, exe, v, values))
		return values
	}
	for _, y := range ys {
		results["y"] = besides(results["y"], read(y.View(), y.Size()))
	}
	if !o.Train {
		return results
	}
	results["dx"] = read(dx, stackRows*stackInputs)
	for _, p := range m.params.All() {
		results["d"+p.Name], err = m.params.Read(dev, m.params.Grads, p)
		must(t, err)
	}
	return results
}

// besides puts the rows of b behind those of a.
func besides(a, b []float32) (both []float32) {
	n, m := len(a)/stackRows, len(b)/stackRows
	for r := range stackRows {
		both = append(append(both, a[r*n:][:n]...), b[r*m:][:m]...)
	}
	return both
}
