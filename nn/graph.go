package nn

import (
	"math"
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
)

// Graph is one recording: operators add their forward kernels to Program, and
// Backward adds the gradients' kernels in reverse order.
type Graph struct {
	Program *engine.Program
	Options

	tape   []func()
	from   *node // the output of the operator whose gradients Backward is recording
	params map[*Param]*Tensor
	fused  map[[2]*Param]*Tensor // fused parameters by the first and the last of them
}

// Options of a recording.
type Options struct {
	Params     *Params
	Train      bool // operators keep the inputs of their gradients
	Accumulate bool // parameter gradients are added to those of an earlier micro-batch
	Recompute  bool // Checkpointed keeps only its input, and its function is computed again for the gradients
	NoFusion   bool // layers of one input are computed one by one

	// AttentionDensity is the fraction of the pairs of a query and a key that attention
	// computes, 0 = all, and ImageDensity that of ImageAttention. They change only the reported cost.
	AttentionDensity, ImageDensity float64
	// Type is how activations and the weights of matmuls are stored: F32, BF16 or
	// F16. The residual stream, statistics, losses and the parameters' gradients
	// always have 32 bits, and so has all arithmetic.
	Type shaders.Type
}

// Record runs f on a new recording and returns the program. Shapes that do not
// fit are returned as a *ShapeError.
func Record(name string, o Options, f func(g *Graph)) (program *engine.Program, err error) {
	g := &Graph{Program: engine.NewProgram(name), Options: o, params: map[*Param]*Tensor{}, fused: map[[2]*Param]*Tensor{}}
	defer func() {
		if r := recover(); r != nil {
			shape, ok := r.(*ShapeError)
			if !ok {
				panic(r)
			}
			program, err = nil, shape
		}
	}()
	f(g)
	return g.Program, g.Program.Err()
}

// New makes a temporary tensor of activations, in the recording's Type.
func (g *Graph) New(name string, shape ...int) *Tensor { return g.newOf(g.Type, name, shape) }

// NewFloat32 makes a temporary tensor whose elements always have 4 bytes.
func (g *Graph) NewFloat32(name string, shape ...int) *Tensor {
	return g.newOf(shaders.F32, name, shape)
}

// newLike makes a temporary tensor of x's type.
func (g *Graph) newLike(x *Tensor, name string, shape ...int) *Tensor {
	return g.newOf(x.node.view.Buffer.Type, name, shape)
}

func (g *Graph) newOf(t shaders.Type, name string, shape []int) *Tensor {
	check(size(shape) <= math.MaxUint32, name, "at most 2^32-1 elements, the largest number that kernels count", &Tensor{Shape: shape})
	view := g.temporary(t, name, size(shape))
	return &Tensor{Shape: shape, node: &node{name: name, view: view, needsGrad: g.Train}}
}

// temporary makes a buffer for n elements of a type.
func (g *Graph) temporary(t shaders.Type, name string, n int) engine.View {
	buffer := g.Program.Temp(name, engine.BufferSize(t, max(1, n)))
	buffer.Type = t
	return buffer.View()
}

// cast returns v's n elements in the recording's Type: v itself, or a rounded copy.
func (g *Graph) cast(v engine.View, n int) engine.View { return g.castTo(g.Type, v, n) }

// castTo returns v's n elements in a type.
func (g *Graph) castTo(t shaders.Type, v engine.View, n int) engine.View {
	if v.Buffer.Type == t {
		return v
	}
	rounded := g.temporary(t, v.Buffer.Label, n)
	g.record(shaders.Copy, shaders.CopyParams{N: uint32(n)}, v, rounded)
	return rounded
}

// Keep makes a temporary tensor readable after the program has run.
func (g *Graph) Keep(t *Tensor) *Tensor {
	g.Program.Keep(t.node.view.Buffer)
	return t
}

// Input is a tensor over a persistent buffer of the caller's, with no gradient.
func Input(b *engine.Buffer, shape ...int) *Tensor { return InputAt(b.View(), shape...) }

// InputAt is an Input over a part of a buffer.
func InputAt(v engine.View, shape ...int) *Tensor {
	return &Tensor{Shape: shape, node: &node{name: v.Buffer.Label, view: v}}
}

// RowCount limits the tensor's rows, counted along the last axis, to as many as the step
// block's entry slot gives when the program runs.
func (t *Tensor) RowCount(slot int) *Tensor {
	return t.rowCount(shaders.Count{Max: uint32(t.Size() / t.Cols()), Slot: uint32(slot)})
}

func (t *Tensor) rowCount(c shaders.Count) *Tensor {
	t.node.rows, t.node.rowSize = c, t.Cols()
	return t
}

// SameRows gives t, which has as many rows as x, the row count of x.
func (t *Tensor) SameRows(x *Tensor) *Tensor {
	if x.node.rows.Slot != 0 {
		t.rowCount(x.rows())
	}
	return t
}

// Reshape returns the same storage with another shape of the same size.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	check(size(shape) == t.Size(), "reshape", "the same number of elements", t, &Tensor{Shape: shape})
	return &Tensor{Shape: slices.Clone(shape), node: t.node}
}

// record adds a kernel call.
func (g *Graph) record(k *shaders.Kernel, params any, views ...engine.View) {
	g.Program.Dispatch(k, params, views...)
}

// onBackward puts an operator's backward pass on the tape. It runs only if the gradient
// of the output y has been written.
func (g *Graph) onBackward(y *Tensor, f func(dy engine.View)) {
	if !g.Train {
		return
	}
	g.tape = append(g.tape, func() {
		if y.node.written {
			g.from = y.node
			f(y.node.grad)
		}
	})
}

// onBackwardAll is onBackward for an operator with several outputs. f runs if the gradient
// of any of them has been written, and gets zeros for the others.
func (g *Graph) onBackwardAll(ys []*Tensor, f func(dys []engine.View)) {
	if !g.Train {
		return
	}
	g.tape = append(g.tape, func() {
		if !slices.ContainsFunc(ys, func(y *Tensor) bool { return y.node.written }) {
			return
		}
		dys := make([]engine.View, len(ys))
		for i, y := range ys {
			var written bool
			if dys[i], written, _ = g.gradient(y); !written {
				g.fill(dys[i], y.Size(), 0)
			}
		}
		f(dys)
	})
}

// Backward records the gradients of everything on the tape, last first.
func (g *Graph) Backward() {
	for _, f := range slices.Backward(g.tape) {
		f()
	}
	g.tape = nil
}

// SetGrad sets the gradient of y, from which Backward starts. The caller's buffer is not
// written to.
func (g *Graph) SetGrad(y *Tensor, dy engine.View) {
	y.node.grad, y.node.written = dy, true
	y.node.ownsGrad = y.node.ownsGrad || !dy.Buffer.Temporary()
}

// gradient returns where the gradient of t is written and whether it must be added to
// the value there. ok is false if t takes no gradient.
func (g *Graph) gradient(t *Tensor) (view engine.View, accumulate, ok bool) {
	n := t.node
	if !n.needsGrad {
		return engine.View{}, false, false
	}
	if n.grad.Buffer == nil {
		n.grad = g.temporaryLike(n)
	}
	g.joinParts(n)
	accumulate, n.written, n.halfGrad = n.written, true, engine.View{}
	return n.grad, accumulate, true
}

// joinParts makes the gradients of a fused parameter's parts consistent: all of them written,
// or none.
func (g *Graph) joinParts(n *node) {
	written := func(p *node) bool { return p.written }
	if len(n.parts) == 0 || !slices.ContainsFunc(n.parts, written) {
		for _, p := range n.parts {
			p.written = true
		}
		return
	}
	for _, p := range n.parts {
		if !p.written { // only the others were used alone
			g.fill(p.grad, int(p.grad.Bytes/4), 0)
		}
		p.written = true
	}
	n.written = true
}

// halfGradient makes a buffer for a copy in 16 bits of the gradient that a kernel is about
// to write to t. It is absent where no matmul reads one.
func (g *Graph) halfGradient(t *Tensor) engine.View {
	n := t.node
	if n.gradFeedsMatmul && n.grad.Buffer != nil && n.grad.Buffer.Type != g.Type {
		n.halfGrad = g.temporary(g.Type, "grad "+n.name, t.Size())
	}
	return n.halfGrad
}

// castGradient returns dy, the gradient of y, in the recording's Type.
func (g *Graph) castGradient(y *Tensor, dy engine.View) engine.View {
	if y.node.halfGrad.Buffer != nil {
		return y.node.halfGrad
	}
	return g.cast(dy, y.Size())
}

// temporaryLike makes a buffer for the gradient of n.
func (g *Graph) temporaryLike(n *node) engine.View {
	buffer := g.Program.Temp("grad "+n.name, n.view.Bytes)
	buffer.Type = n.view.Buffer.Type
	return buffer.View()
}

// passGradient adds the gradient dy to that of t, which has the same size. If it is the
// first, t takes over dy's storage, unless that is to be read later: nothing else reads
// dy once the operator that calls this has recorded its other gradients.
func (g *Graph) passGradient(t *Tensor, dy engine.View) {
	n := t.node
	n.halfGrad = engine.View{}
	switch {
	case !n.needsGrad:
	case n.written:
		g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(t.Size())}, dy, n.grad)
	case n.grad.Buffer == nil && !g.from.ownsGrad && dy.Buffer.Type == n.view.Buffer.Type:
		n.grad, n.written = dy, true
	case n.grad.Buffer == nil:
		n.grad, n.written = g.temporaryLike(n), true
		g.copy(dy, n.grad, t.Size())
	default: // the gradient has its own buffer: a parameter or a variable
		g.copy(dy, n.grad, t.Size())
		n.written = true
	}
}

// copy copies n elements. The step block's entry 0 is always 0.
func (g *Graph) copy(from, to engine.View, n int) {
	g.record(shaders.AppendRows, shaders.AppendRowsParams{Rows: shaders.N(1), Cols: uint32(n)}, from, to)
}

func (g *Graph) fill(v engine.View, n int, value float32) {
	g.record(shaders.Fill, shaders.FillParams{N: uint32(n), Value: value}, v)
}
