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
	from   *node // the output whose gradient Backward is taking through its operator
	params map[*Param]*Tensor
	stacks map[[2]*Param]*Tensor // by their first and last parameter
}

// Options of a recording.
type Options struct {
	Params     *Params
	Train      bool // operators keep what their gradients need
	Accumulate bool // parameter gradients are added to those of an earlier micro-batch
	Recompute  bool // Recomputed keeps its input alone and does its work again for the gradients
	Apart      bool // a Stack's layers are computed one by one, as those are that do not adjoin

	// Visible is the part of all pairs of a query and a key that attention
	// computes, where that is known; 0 = all. It is for the cost alone.
	Visible float64
	// Type is how activations and the weights of products are stored: F32, BF16 or
	// F16. The residual stream, statistics, losses and the parameters' gradients are
	// of 32 bits always, as is all arithmetic.
	Type shaders.Type
}

// Record runs f on a new recording and returns the program. Shapes that do not
// fit are returned as a *ShapeError.
func Record(name string, o Options, f func(g *Graph)) (program *engine.Program, err error) {
	g := &Graph{Program: engine.NewProgram(name), Options: o, params: map[*Param]*Tensor{}, stacks: map[[2]*Param]*Tensor{}}
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

// newLike makes a temporary tensor that is stored as x is.
func (g *Graph) newLike(x *Tensor, name string, shape ...int) *Tensor {
	return g.newOf(x.node.view.Buffer.Type, name, shape)
}

func (g *Graph) newOf(t shaders.Type, name string, shape []int) *Tensor {
	check(size(shape) <= math.MaxUint32, name, "at most 2^32-1 elements, which kernels count", &Tensor{Shape: shape})
	view := g.temporary(t, name, size(shape))
	return &Tensor{Shape: shape, node: &node{name: name, view: view, needsGrad: g.Train}}
}

// temporary is room for n elements of a type.
func (g *Graph) temporary(t shaders.Type, name string, n int) engine.View {
	buffer := g.Program.Temp(name, engine.BufferSize(t, max(1, n)))
	buffer.Type = t
	return buffer.View()
}

// narrow is a view of n elements in the recording's Type: v itself, or a copy that
// is rounded.
func (g *Graph) narrow(v engine.View, n int) engine.View {
	if v.Buffer.Type == g.Type {
		return v
	}
	rounded := g.temporary(g.Type, v.Buffer.Label, n)
	g.record(shaders.Copy, shaders.CopyParams{N: uint32(n)}, v, rounded)
	return rounded
}

// Keep makes a temporary tensor readable after the program has run.
func (g *Graph) Keep(t *Tensor) *Tensor {
	g.Program.Keep(t.node.view.Buffer)
	return t
}

// KeepGrad makes a tensor's gradient readable after the program has run. It is called
// before Backward; Grad then says where the gradient is.
func (g *Graph) KeepGrad(t *Tensor) { t.node.own = true }

// Grad is where a tensor's gradient is after Backward; absent where it has none. That
// of a temporary tensor can be read after the run if KeepGrad asked for it.
func (g *Graph) Grad(t *Tensor) engine.View {
	if t.node.own && t.node.grad.Buffer != nil && t.node.grad.Buffer.Temporary() {
		g.Program.Keep(t.node.grad.Buffer)
	}
	return t.node.grad
}

// Input is a tensor over a persistent buffer of the caller's, with no gradient.
func Input(b *engine.Buffer, shape ...int) *Tensor { return InputAt(b.View(), shape...) }

// InputAt is an Input over a part of a buffer.
func InputAt(v engine.View, shape ...int) *Tensor {
	return &Tensor{Shape: shape, node: &node{name: v.Buffer.Label, view: v}}
}

// Variable is an Input whose gradient is wanted.
func (g *Graph) Variable(b *engine.Buffer, shape ...int) *Tensor {
	t := Input(b, shape...)
	t.node.needsGrad = true
	return t
}

// RowCount makes the tensor's rows, counted along the last axis, those that the
// step block's entry slot says when the program runs.
func (t *Tensor) RowCount(slot int) *Tensor {
	return t.rowCount(shaders.Count{Max: uint32(t.Size() / t.Cols()), Slot: uint32(slot)})
}

func (t *Tensor) rowCount(c shaders.Count) *Tensor {
	t.node.rows, t.node.rowSize = c, t.Cols()
	return t
}

// sameRows gives t as many rows in use as x has.
func (t *Tensor) sameRows(x *Tensor) *Tensor {
	if x.node.rows.Slot != 0 {
		t.rowCount(x.rows())
	}
	return t
}

// Reshape is the same storage under another shape of the same size.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	check(size(shape) == t.Size(), "reshape", "as many elements", t, &Tensor{Shape: shape})
	return &Tensor{Shape: slices.Clone(shape), node: t.node}
}

// record adds a kernel call.
func (g *Graph) record(k *shaders.Kernel, params any, views ...engine.View) {
	g.Program.Dispatch(k, params, views...)
}

// onBackward puts an operator's backward on the tape. It runs only when the
// gradient of the output y has been written.
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

// onBackwardAll is onBackward for an operator of several outputs. f gets the gradients
// of all as soon as one of them was written, zeros for the others.
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

// Seed sets the gradient that comes in at y. A buffer of the caller's stays as it is.
func (g *Graph) Seed(y *Tensor, dy engine.View) {
	y.node.grad, y.node.written = dy, true
	y.node.own = y.node.own || !dy.Buffer.Temporary()
}

// gradient returns where the gradient of t goes and whether it must be added to
// what is there. ok is false when none is wanted.
func (g *Graph) gradient(t *Tensor) (view engine.View, accumulate, ok bool) {
	n := t.node
	if !n.needsGrad {
		return engine.View{}, false, false
	}
	if n.grad.Buffer == nil {
		n.grad = g.temporaryLike(n)
	}
	g.joinParts(n)
	accumulate, n.written, n.rounded = n.written, true, engine.View{}
	return n.grad, accumulate, true
}

// joinParts makes the gradients of a stack's parameters one: written all or none.
func (g *Graph) joinParts(n *node) {
	written := func(p *node) bool { return p.written }
	if len(n.parts) == 0 || !slices.ContainsFunc(n.parts, written) {
		for _, p := range n.parts {
			p.written = true
		}
		return
	}
	for _, p := range n.parts {
		if !p.written { // the others were used by themselves
			g.fill(p.grad, int(p.grad.Bytes/4), 0)
		}
		p.written = true
	}
	n.written = true
}

// rounding is room for a copy in 16 bits of the gradient that a kernel is about to
// write to t; absent where no product reads one.
func (g *Graph) rounding(t *Tensor) engine.View {
	n := t.node
	if n.factor && n.grad.Buffer != nil && n.grad.Buffer.Type != g.Type {
		n.rounded = g.temporary(g.Type, "grad "+n.name, t.Size())
	}
	return n.rounded
}

// narrowGradient is dy, the gradient of y, in the recording's Type.
func (g *Graph) narrowGradient(y *Tensor, dy engine.View) engine.View {
	if y.node.rounded.Buffer != nil {
		return y.node.rounded
	}
	return g.narrow(dy, y.Size())
}

// temporaryLike is room for the gradient of n.
func (g *Graph) temporaryLike(n *node) engine.View {
	buffer := g.Program.Temp("grad "+n.name, n.view.Bytes)
	buffer.Type = n.view.Buffer.Type
	return buffer.View()
}

// passGradient adds the gradient dy to that of t, which has the same size. When
// it is the first, t takes dy's storage over, unless that is to be read later: nothing
// else reads dy once the operator that calls this has recorded its other gradients.
func (g *Graph) passGradient(t *Tensor, dy engine.View) {
	n := t.node
	n.rounded = engine.View{}
	switch {
	case !n.needsGrad:
	case n.written:
		g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(t.Size())}, dy, n.grad)
	case n.grad.Buffer == nil && !g.from.own && dy.Buffer.Type == n.view.Buffer.Type:
		n.grad, n.written = dy, true
	case n.grad.Buffer == nil:
		n.grad, n.written = g.temporaryLike(n), true
		g.copy(dy, n.grad, t.Size())
	default: // a place of its own: a parameter or a variable
		g.copy(dy, n.grad, t.Size())
		n.written = true
	}
}

// copyGradient is passGradient for a second receiver of dy.
func (g *Graph) copyGradient(t *Tensor, dy engine.View) {
	if t.node.needsGrad && t.node.grad.Buffer == nil {
		t.node.grad = g.temporaryLike(t.node)
	}
	g.passGradient(t, dy)
}

// copy copies n elements. The step block's entry 0 is always 0.
func (g *Graph) copy(from, to engine.View, n int) {
	g.record(shaders.AppendRows, shaders.AppendRowsParams{Rows: shaders.N(1), Cols: uint32(n)}, from, to)
}

func (g *Graph) fill(v engine.View, n int, value float32) {
	g.record(shaders.Fill, shaders.FillParams{N: uint32(n), Value: value}, v)
}
