package nn

import (
	"math"

	"patchwork/engine"
	"patchwork/shaders"
)

// Muon is the settings of the optimizer of the parameters that are marked Muon (Jordan et al.,
// "Muon: an optimizer for hidden layers in neural networks", 2024): the momentum of a matrix's
// gradient is replaced by the nearest orthogonal matrix, so that a step moves all directions of
// the matrix alike.
type Muon struct {
	Momentum float64
	// Scale multiplies the learning rate of a parameter's group, and with it the weight decay.
	Scale float64
}

// newtonSchulz are the coefficients a, b and c of an iteration x = a·x + b·(x·xᵀ)·x + c·(x·xᵀ)²·x.
// Five of them take singular values from about 0.01 to 1 to between 0.7 and 1.2 (Jordan et al.).
var newtonSchulz = struct{ a, b, c float64 }{3.4445, -4.7750, 2.0315}

const (
	newtonSchulzSteps = 5
	muonEps           = 1e-7 // added to the norm of the momentum
	// muonRMS is the root mean square of the elements of an update, per unit of learning rate.
	// AdamW's are of that size, so that both can share a learning rate (Liu et al., "Muon is
	// scalable for LLM training", 2025).
	muonRMS = 0.2
)

// update records a step of one matrix p [R,C], whose momentum is at an offset of the first moments.
// clip is as for AdamW; the step block's entry slot has the learning rate.
func (o Muon) update(g *Graph, p *Param, momentum int64, weightDecay float64, slot int, clip *Tensor) {
	s, n := g.Options.Params, size(p.Shape)
	at := func(b *engine.Buffer) engine.View { return b.View().Slice(p.offset, p.Bytes()) }
	x := g.NewFloat32("direction", p.Shape...)
	g.record(shaders.MuonMomentum, shaders.MuonMomentumParams{N: uint32(n), Momentum: float32(o.Momentum)}, clip.View(), at(s.Grads), s.M.View().Slice(momentum, p.Bytes()), x.View())
	squares := g.NewFloat32("squares", 1)
	g.record(shaders.SumSquares, shaders.SumParams{N: shaders.N(n)}, x.View(), squares.View())
	g.record(shaders.MuonNormalize, shaders.MuonNormalizeParams{N: uint32(n), Eps: muonEps}, squares.View(), x.View())
	x, scale := g.orthogonalize(x)
	params := shaders.MuonUpdateParams{
		N: uint32(n), Rate: float32(o.Scale), WeightDecay: float32(weightDecay), Slot: uint32(slot),
		Scale: float32(scale * muonRMS * math.Sqrt(float64(max(p.Shape[0], p.Shape[1])))),
	}
	var half engine.View
	if s.Half != nil {
		params.Narrow, half = 1, s.HalfView(p)
	}
	g.record(shaders.MuonUpdate, params, clip.View(), x.View(), at(s.Weights), half)
}

// orthogonalize takes the singular values of x [R,C], which are at most 1, to about 1 by
// newtonSchulz. It returns y, the result without a factor of scale, so that an iteration is
// three matmuls and nothing else: with x = s·y,
//
//	a·x + b·(x·xᵀ)·x + c·(x·xᵀ)²·x = a·s·(y + b/a·(A + c/b·A²)·y),  A = s²·y·yᵀ
//
// If R > C, A is s²·yᵀ·y, which is smaller, and multiplies y from the right.
func (g *Graph) orthogonalize(x *Tensor) (y *Tensor, scale float64) {
	rows, cols := x.Shape[0], x.Shape[1]
	tall := rows > cols
	side, long := min(rows, cols), max(rows, cols)
	c := newtonSchulz
	scale = 1
	for range newtonSchulzSteps {
		gram, poly, next := g.NewFloat32("gram matrix", side, side), g.NewFloat32("polynomial", side, side), g.NewFloat32("direction", rows, cols)
		from := operand{view: x.View()}
		g.matmulAdd(matmulShape{batch: 1, m: shaders.N(side), k: shaders.N(long), n: side}, scale*scale,
			operand{view: from.view, trans: tall}, operand{view: from.view, trans: !tall}, engine.View{}, gram.View())
		square := operand{view: gram.View()}
		g.matmulAdd(matmulShape{batch: 1, m: shaders.N(side), k: shaders.N(side), n: side}, c.c/c.b, square, square, gram.View(), poly.View())
		left, right := operand{view: poly.View()}, from
		if tall {
			left, right = right, left
		}
		g.matmulAdd(matmulShape{batch: 1, m: shaders.N(rows), k: shaders.N(side), n: cols}, c.b/c.a, left, right, x.View(), next.View())
		x, scale = next, c.a*scale
	}
	return x, scale
}
