package nn

import (
	"math"

	"patchwork/engine"
	"patchwork/shaders"
)

// AdamW is the optimiser's fixed settings; the learning rates change each step.
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay float64
	MaxNorm                        float64 // of all gradients together; 0 = no clipping
	// ScaleSlot is where the step block holds what the gradients are multiplied by;
	// 0 = nothing.
	ScaleSlot int
}

// mostElements is how many elements of 32 bits one kernel call counts safely.
const mostElements = 1 << 31

// Update records the optimiser's step over every parameter that is not frozen:
// the global norm, the clip factor, and one AdamW kernel a contiguous run. slot
// gives, for a learning-rate group, where the step block holds what SetAdamW
// writes. It returns [2] values: the norm and the clip factor.
func (o AdamW) Update(g *Graph, slot func(group string) int) *Tensor {
	s := g.Options.Params
	squares, clip := g.NewFloat32("sum of squares", 1), g.NewFloat32("clip", 2)
	g.fill(squares.View(), 1, 0)
	for _, r := range s.Ranges() {
		eachPiece(r.Offset, r.Bytes, func(offset, bytes int64) {
			g.record(shaders.SumSquares, shaders.SumParams{N: shaders.N(int(bytes / 4)), Accumulate: 1},
				s.Grads.View().Slice(offset, bytes), squares.View())
		})
	}
	g.record(shaders.ClipFactor, shaders.ClipFactorParams{MaxNorm: float32(o.MaxNorm), ScaleSlot: uint32(o.ScaleSlot)}, squares.View(), clip.View())
	for _, r := range s.Ranges() {
		p := shaders.AdamWParams{Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps), Slot: uint32(slot(r.Group))}
		if r.Decay {
			p.WeightDecay = float32(o.WeightDecay)
		}
		eachPiece(r.Offset, r.Bytes, func(offset, bytes int64) {
			p.N = uint32(bytes / 4)
			at := func(b *engine.Buffer) engine.View { return b.View().Slice(offset, bytes) }
			var narrow engine.View
			if s.Narrow != nil {
				p.Narrow, narrow = 1, s.Narrow.View().Slice(offset/2, bytes/2)
			}
			g.record(shaders.AdamW, p, clip.View(), at(s.Grads), at(s.Weights), at(s.M), at(s.V), narrow)
		})
	}
	return clip
}

// eachPiece calls f for pieces of a range of 32-bit elements that a kernel can count;
// what a device can bind is cut when it compiles.
func eachPiece(first, length int64, f func(offset, bytes int64)) {
	for at := int64(0); at < length; at += 4 * mostElements {
		f(first+at, min(4*mostElements, length-at))
	}
}

// Set writes what the AdamW kernel reads from the step block: the learning rate
// and the bias corrections of step t, counted from 1.
func (o AdamW) Set(step *[shaders.StepWords]uint32, slot int, lr float64, t int) {
	step[slot] = math.Float32bits(float32(lr))
	step[slot+1] = math.Float32bits(float32(1 / (1 - math.Pow(o.Beta1, float64(t)))))
	step[slot+2] = math.Float32bits(float32(1 / math.Sqrt(1-math.Pow(o.Beta2, float64(t)))))
}
