package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Targets are a batch's inputs of a loss: Rows, the tokens that have a target, and IDs, the
// targets, both int32 [n]. The step block's entry CountSlot is the number of them in use
// (0 = all), its entry ScaleSlot the factor of the loss's gradient (0 = 1): one over the
// number of targets of the batch.
type Targets struct {
	Rows, IDs            *Tensor
	CountSlot, ScaleSlot int
}

// HeadLoss is the outcome of a HeadCrossEntropy.
type HeadLoss struct {
	Sum *Tensor // [1]: the summed loss
	NLL *Tensor // [n]: negative log-likelihood of every target, in nats
	// ArgMax [n] is the id with the largest logit at every target, int32; nil in training.
	ArgMax *Tensor
}

// headChunk is how many logits are in memory at once.
const headChunk = 1 << 24

// HeadCrossEntropy is the language model's head and its loss: logits x·wᵀ of the tokens
// that have a target, a chunk of rows at a time, so that they are never all in memory,
// their cross-entropy, and in training also the gradients of x [T,D] and w [V,D].
//
// softCap limits the logits to softCap·tanh(logits/softCap); 0 = none.
func (g *Graph) HeadCrossEntropy(x, w *Tensor, t Targets, softCap float32) HeadLoss {
	check(x.Cols() == w.Cols(), "head", "x [T,D] and w [V,D]", x, w)
	n, vocabulary := t.IDs.Size(), w.Shape[0]
	loss := HeadLoss{Sum: g.NewFloat32("loss", 1), NLL: g.NewFloat32("nll", n)}
	if !g.Train {
		loss.ArgMax = g.NewFloat32("argmax", n)
	}
	chunk := min(n, max(64, headChunk/vocabulary))
	var total, dx engine.View // dx is of the rows with a target, and zero elsewhere
	var add bool
	if g.Train {
		total, add, _ = g.gradient(x)
	}
	if dx = total; add { // another head has written there
		dx = g.temporaryLike(x.node)
	}
	if dx.Buffer != nil {
		g.fill(dx, x.Size(), 0)
	}
	for base := 0; base < n; base += chunk {
		rows := shaders.Count{Max: uint32(min(chunk, n-base)), Slot: uint32(t.CountSlot), Base: uint32(base)}
		g.headChunk(x, w, t, loss, rows, dx, base, softCap)
	}
	if add {
		g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(x.Size())}, dx, total)
	}
	g.record(shaders.Sum, shaders.SumParams{N: shaders.Count{Max: uint32(n), Slot: uint32(t.CountSlot)}}, loss.NLL.View(), loss.Sum.View())
	return loss
}

func (g *Graph) headChunk(x, w *Tensor, t Targets, loss HeadLoss, rows shaders.Count, dx engine.View, base int, softCap float32) {
	n, d, vocabulary := int(rows.Max), x.Cols(), w.Shape[0]
	if t.CountSlot == 0 {
		rows = shaders.N(n)
	}
	ld := evenRow(vocabulary)
	hidden, logits := g.New("head hidden", n, d), g.NewFloat32("logits", n, ld)
	gather := shaders.GatherRowsParams{Rows: rows, Cols: uint32(d), Base: uint32(base)}
	g.record(shaders.GatherRows, gather, t.Rows.View(), x.View(), hidden.View())
	weight := g.weight(w)
	p := matmulShape{batch: 1, m: rows, n: vocabulary, k: shaders.N(d), ld: ld, precise: true}
	g.matmulWeight(p, hidden.View(), weight, true, logits.View(), engine.View{}, engine.View{})
	if loss.ArgMax != nil {
		g.record(shaders.ArgMax, shaders.ArgMaxParams{Rows: rows, Cols: uint32(vocabulary), LD: uint32(ld), Base: uint32(base)}, logits.View(), loss.ArgMax.View())
	}
	g.record(shaders.CrossEntropy, shaders.CrossEntropyParams{
		Rows: rows, Cols: uint32(vocabulary), LD: uint32(ld), Base: uint32(base), Grad: shaders.Flag(g.Train), Scale: 1, ScaleSlot: uint32(t.ScaleSlot), Cap: softCap,
	}, t.IDs.View(), logits.View(), loss.NLL.View())
	if !g.Train {
		return
	}
	dlogits := g.cast(logits.View(), logits.Size())
	if dw, add, ok := g.gradient(w); ok { // dw = dlogitsᵀ·hidden
		g.matmul(matmulShape{batch: 1, m: shaders.N(vocabulary), n: d, k: rows, add: add}, operand{dlogits, true, ld}, operand{view: hidden.View()}, dw)
	}
	if dx.Buffer == nil {
		return
	}
	dhidden := g.New("grad head hidden", n, d)
	p = matmulShape{batch: 1, m: rows, n: d, k: shaders.N(vocabulary), aLD: ld}
	g.matmulWeight(p, dlogits, weight, false, dhidden.View(), engine.View{}, engine.View{})
	g.record(shaders.ScatterRows, gather, t.Rows.View(), dhidden.View(), dx)
}
