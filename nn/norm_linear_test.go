package nn

import (
	"math"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/shaders"
)

// normModel is a norm of 64 columns with layers behind it; the head's rows are odd in
// number, for which 16 bits leave a gap.
type normModel struct {
	params         *Params
	norm           RMSNorm
	stack          Stack
	gate, up, head Linear
}

func newNormModel(bias bool) *normModel {
	m := &normModel{params: NewParams()}
	d := Declarer{m.params, "decoder"}
	layer := func(name string, rows int) Linear { return d.Linear(name, 64, rows, bias, FanIn(64)) }
	m.norm = d.RMSNorm("norm", 64, 1e-5)
	m.stack = Stack{layer("q", 64), layer("k", 32)}
	m.gate, m.up, m.head = layer("gate", 96), layer("up", 96), layer("head", 51)
	m.params.Seal()
	return m
}

// TestNormLinear holds a norm that is computed with what follows to the two apart.
func TestNormLinear(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, c := range []struct {
		dtype     shaders.Type
		tolerance float64
	}{
		{shaders.F32, 1e-5},  // sums of 64 terms of size 1
		{shaders.BF16, 0.03}, // apart, the norm's result is rounded, and two results of size 2 of the MLP
		{shaders.F16, 0.004},
	} {
		t.Run(c.dtype.String(), func(t *testing.T) {
			m := newNormModel(false)
			if c.dtype.Half() {
				m.params.Pack(c.dtype)
			}
			x := engine.NewBuffer("x", 4*3*64)
			buffers := []*engine.Buffer{x, m.params.Weights}
			if m.params.Narrow != nil {
				buffers = append(buffers, m.params.Narrow)
			}
			memories, err := engine.Allocate(dev, "test", buffers...)
			must(t, err)
			defer engine.Free(memories)
			must(t, m.params.Initialise(dev, 1))
			must(t, m.params.Write(dev, m.norm.Weight, (&Param{Init: Init{Mean: 1, Std: 0.5}}).Draw(2, 64)))
			must(t, engine.Upload(dev, x.View(), (&Param{Init: Init{Std: 3}}).Draw(3, 3*64)))
			var pairs [][2]*Tensor // together, apart
			program, err := Record("norms", Options{Params: m.params, Type: c.dtype}, func(g *Graph) {
				x := Input(x, 3, 64)
				h := m.norm.Forward(g, x)
				qk, ok := m.stack.ForwardNorm(g, m.norm, x)
				inner, gated := g.NormSwiGLU(m.norm, x, m.gate, m.up)
				if !ok || !gated {
					t.Fatal("the norm is computed apart")
				}
				both, _ := m.stack.Forward(g, h)
				row, head := InputAt(x.View().Slice(0, 4*64), 1, 64), g.Param(m.head.Weight)
				pairs = [][2]*Tensor{
					{qk, both}, {inner, g.SwiGLU(m.gate.Forward(g, h), m.up.Forward(g, h))},
					{g.NormLogits(m.norm, row, head), g.Logits(m.norm.Forward(g, row), head)},
				}
				for _, p := range pairs {
					g.Keep(p[0])
					g.Keep(p[1])
				}
			})
			must(t, err)
			plan, err := engine.NewPlan(program, 0)
			must(t, err)
			exe, err := dev.Compile(plan, nil)
			must(t, err)
			defer exe.Free()
			must(t, exe.Run(t.Context(), &[shaders.StepWords]uint32{}))
			for _, p := range pairs {
				var values [2][]float32
				for i, y := range p {
					values[i] = make([]float32, y.Size())
					must(t, engine.DownloadTempFloats(dev, exe, y.View(), values[i]))
				}
				scale := float64(slices.Max(values[1]))
				for i, want := range values[1] {
					if d := math.Abs(float64(values[0][i] - want)); !(d <= c.tolerance*scale) || scale == 0 {
						t.Fatalf("%s[%d] is %g, apart %g", p[0].node.name, i, values[0][i], want)
					}
				}
			}
		})
	}
}

// TestNormApart: norms with gradients, of many rows, of rows that are counted when the
// program runs, of 16 bits or before layers with biases are computed apart.
func TestNormApart(t *testing.T) {
	for _, c := range []struct {
		name         string
		options      Options
		rows         int
		bias, half   bool
		slot         int
		stack, gated bool
	}{
		{name: "a token", rows: 1, stack: true, gated: true},
		{name: "four", rows: 4, stack: true, gated: true},
		{name: "five", rows: 5},
		{name: "counted", rows: 2, slot: 3},
		{name: "training", rows: 1, options: Options{Train: true}},
		{name: "layers one by one", rows: 1, options: Options{Apart: true}, gated: true},
		{name: "biases", rows: 1, bias: true},
		{name: "x of 16 bits", rows: 1, half: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newNormModel(c.bias)
			c.options.Params = m.params
			_, err := Record("norms", c.options, func(g *Graph) {
				x := g.NewFloat32("x", c.rows, 64)
				if c.half {
					x = g.newOf(shaders.BF16, "x", x.Shape)
				}
				if c.slot > 0 {
					x.RowCount(c.slot)
				}
				if _, ok := m.stack.ForwardNorm(g, m.norm, x); ok != c.stack {
					t.Errorf("a stack's norm computed with it: %t", ok)
				}
				if _, ok := g.NormSwiGLU(m.norm, x, m.gate, m.up); ok != c.gated {
					t.Errorf("an MLP's norm computed with it: %t", ok)
				}
			})
			must(t, err)
		})
	}
}
