package nn

import (
	"math"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// normModel is a norm of 64 columns and the layers that a decoder applies to its result. The head
// has an odd number of rows, which leaves a gap in 16 bits.
type normModel struct {
	params *Params
	norm   RMSNorm
	qk     fusedLinear
	mlp    NormSwiGLU
	head   Linear
}

func newNormModel(bias bool) *normModel {
	m := &normModel{params: NewParams()}
	d := Declarer{Params: m.params, Group: "decoder"}
	layer := func(name string, rows int) Linear { return d.Linear(name, 64, rows, bias, FanIn(64)) }
	m.norm = d.RMSNorm("norm", 64, 1e-5)
	m.qk = fusedLinear{layer("q", 64), layer("k", 32)}
	m.mlp = NormSwiGLU{Norm: m.norm, Gate: layer("gate", 96), Up: layer("up", 96)}
	m.head = layer("head", 51)
	m.params.Seal()
	return m
}

// TestNormLinear compares a norm and the matmul after it, fused in one kernel, with the
// same two in separate kernels.
func TestNormLinear(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, c := range []struct {
		dtype     shaders.Type
		tolerance float64
	}{
		{shaders.F32, 1e-5},  // sums of 64 terms of size 1
		{shaders.BF16, 0.03}, // separate kernels round the norm's result, and in the MLP two results of size 2
		{shaders.F16, 0.004},
	} {
		t.Run(c.dtype.String(), func(t *testing.T) {
			m := newNormModel(false)
			if c.dtype.Half() {
				m.params.StoreHalf(c.dtype)
			}
			x := engine.NewBuffer("x", 4*3*64)
			buffers := []*engine.Buffer{x, m.params.Weights}
			if m.params.Half != nil {
				buffers = append(buffers, m.params.Half)
			}
			memories, err := engine.Allocate(dev, "test", buffers...)
			require.NoError(t, err)
			defer engine.Free(memories)
			require.NoError(t, m.params.Initialise(dev, 1))
			require.NoError(t, m.params.Write(dev, m.norm.Weight, (&Param{Init: Init{Mean: 1, Std: 0.5}}).Draw(2, 64)))
			require.NoError(t, engine.Upload(dev, x.View(), (&Param{Init: Init{Std: 3}}).Draw(3, 3*64)))
			var pairs [][2]*Tensor // fused, separate
			program, err := Record("norms", Options{Params: m.params, Type: c.dtype}, func(g *Graph) {
				x := Input(x, 3, 64)
				h := m.norm.Forward(g, x)
				qk, ok := m.qk.forward(g, h)
				w, _, _ := m.qk.params(g)
				if !ok {
					t.Fatal("the layers are not fused")
				}
				row, head := InputAt(x.View().Slice(0, 4*64), 1, 64), g.Param(m.head.Weight)
				pairs = [][2]*Tensor{
					{m.norm.linear(g, x, w, nil), qk},
					{m.mlp.Forward(g, x), g.SwiGLU(m.mlp.Gate.Forward(g, h), m.mlp.Up.Forward(g, h), m.mlp.Activation)},
					{g.NormLogits(m.norm, row, head), g.Logits(m.norm.Forward(g, row), head)},
				}
				for _, p := range pairs {
					g.Keep(p[0])
					g.Keep(p[1])
				}
			})
			require.NoError(t, err)
			if n := calls(program, shaders.RMSNormLinear); n != len(pairs) {
				t.Fatalf("%d calls of the fused kernel, want %d", n, len(pairs))
			}
			plan, err := engine.NewPlan(program, 0)
			require.NoError(t, err)
			exe, err := dev.Compile(plan, nil)
			require.NoError(t, err)
			defer exe.Free()
			require.NoError(t, exe.Run(t.Context(), &[shaders.StepWords]uint32{}))
			for _, p := range pairs {
				var values [2][]float32
				for i, y := range p {
					values[i] = make([]float32, y.Size())
					require.NoError(t, engine.DownloadTempFloats(dev, exe, y.View(), values[i]))
				}
				scale := float64(slices.Max(values[1]))
				for i, want := range values[1] {
					if d := math.Abs(float64(values[0][i] - want)); !(d <= c.tolerance*scale) || scale == 0 {
						t.Fatalf("%s[%d] is %g, separate %g", p[0].node.name, i, values[0][i], want)
					}
				}
			}
		})
	}
}

// calls counts the calls of a kernel.
func calls(p *engine.Program, k *shaders.Kernel) (n int) {
	for _, d := range p.Dispatches {
		if d.Kernel == k {
			n++
		}
	}
	return n
}

// TestNormLinearFallback: a norm is not fused if it has gradients, many rows, or rows that
// are counted when the program runs, or if the layer after it has a bias. Inputs in 16 bits
// are an error, as they are for the norm's own kernel.
func TestNormLinearFallback(t *testing.T) {
	for _, c := range []struct {
		name       string
		options    Options
		rows       int
		bias, half bool
		slot       int
		fused      bool
	}{
		{name: "a token", rows: 1, fused: true},
		{name: "four", rows: 4, fused: true},
		{name: "five", rows: 5},
		{name: "counted", rows: 2, slot: 3},
		{name: "training", rows: 1, options: Options{Train: true}},
		{name: "biases", rows: 1, bias: true},
		{name: "x of 16 bits", rows: 1, half: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newNormModel(c.bias)
			c.options.Params = m.params
			program, err := Record("norms", c.options, func(g *Graph) {
				x := g.NewFloat32("x", c.rows, 64)
				if c.half {
					x = g.newOf(shaders.BF16, "x", x.Shape)
				}
				if c.slot > 0 {
					x.RowCount(c.slot)
				}
				var bias *Tensor
				if c.bias {
					bias = g.Param(m.head.Bias)
				}
				m.norm.linear(g, x, g.Param(m.head.Weight), bias)
				m.mlp.Forward(g, x)
			})
			if c.half {
				if err == nil {
					t.Error("an input in 16 bits was accepted")
				}
				return
			}
			require.NoError(t, err)
			fused, norms := calls(program, shaders.RMSNormLinear), calls(program, shaders.RMSNorm)
			if c.fused && (fused != 2 || norms != 0) || !c.fused && (fused != 0 || norms != 2) {
				t.Errorf("%d calls of the fused kernel and %d of the norm's, want them fused: %t", fused, norms, c.fused)
			}
		})
	}
}
