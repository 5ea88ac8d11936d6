package nn

import (
	"math"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/eightbit"
)

// AdamW is the optimizer's constant settings; the learning rates change at each step.
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay float64
	MaxNorm                        float64 // of all gradients together; 0 = no clipping
	// ScaleSlot is the step block entry by which the gradients are multiplied; 0 = none.
	ScaleSlot int
	Muon      Muon // for the parameters that are marked so
}

// maxKernelElements is the largest number of 32-bit elements that one kernel call can count.
const maxKernelElements = 1 << 31

// Update records the optimizer's step over every parameter that is not frozen: the global
// norm, the clip factor, one AdamW kernel for each contiguous range, in 8 bits if the moments are, and Muon's kernels for each of
// its matrices. slot returns the first of a learning-rate group's step block entries, which Set
// writes. The result is [2]: the norm and the clip factor.
func (o AdamW) Update(g *Graph, slot func(group string) int) *Tensor {
	s := g.Options.Params
	squares := g.NewFloat32("sum of squares", 1)
	g.fill(squares.View(), 1, 0)
	for _, r := range s.Ranges() {
		eachChunk(r.Offset, r.Bytes, func(offset, bytes int64) {
			g.record(shaders.SumSquares, shaders.SumParams{N: shaders.N(int(bytes / 4)), Accumulate: 1},
				s.Grads.View().Slice(offset, bytes), squares.View())
		})
	}
	return o.UpdateWith(g, squares.View(), slot)
}

// UpdateWith is Update where the sum of the squares of all gradients, one value, is known. With
// sharded moments it updates the segments of this rank.
func (o AdamW) UpdateWith(g *Graph, squares engine.View, slot func(group string) int) *Tensor {
	s := g.Options.Params
	clip := g.NewFloat32("clip", 2)
	g.record(shaders.ClipFactor, shaders.ClipFactorParams{MaxNorm: float32(o.MaxNorm), ScaleSlot: uint32(o.ScaleSlot)}, squares, clip.View())
	for _, r := range s.updated() {
		if r.Muon {
			for _, p := range r.Params {
				o.Muon.update(g, p, r.moments+p.offset-r.Offset, decay(r.Range, o.WeightDecay), slot(r.Group), clip)
			}
			continue
		}
		if s.MScale != nil {
			o.update8(g, r.Range, slot(r.Group), clip)
			continue
		}
		p := shaders.AdamWParams{Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps), Slot: uint32(slot(r.Group)), WeightDecay: float32(decay(r.Range, o.WeightDecay))}
		eachChunk(0, r.Bytes, func(offset, bytes int64) {
			p.N = uint32(bytes / 4)
			at := func(b *engine.Buffer) engine.View { return b.View().Slice(r.Offset+offset, bytes) }
			moments := func(b *engine.Buffer) engine.View { return b.View().Slice(r.moments+offset, bytes) }
			var half engine.View
			if s.Half != nil {
				p.Narrow, half = 1, s.halfSlice(r.Offset+offset, bytes)
			}
			g.record(shaders.AdamW, p, clip.View(), at(s.Grads), at(s.Weights), moments(s.M), moments(s.V), half)
		})
	}
	s.roundCopies(s.requiresGrad, g.record)
	return clip
}

// update8 records the step of a range whose moments have 8 bits.
func (o AdamW) update8(g *Graph, r Range, slot int, clip *Tensor) {
	s := g.Options.Params
	p := shaders.AdamW8Params{
		Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps), Slot: uint32(slot), WeightDecay: float32(decay(r, o.WeightDecay)),
	}
	eachChunk(r.Offset, r.Bytes, func(offset, bytes int64) {
		p.N, p.Base = uint32(bytes/4), uint32(offset/4/eightbit.Block)
		at := func(b *engine.Buffer) engine.View { return b.View().Slice(offset, bytes) }
		codes := func(b *engine.Buffer) engine.View { return b.View().Slice(offset/4, bytes/4) }
		var half engine.View
		if s.Half != nil {
			p.Narrow, half = 1, s.halfSlice(offset, bytes)
		}
		g.record(shaders.AdamW8, p, clip.View(), at(s.Grads), at(s.Weights), codes(s.M), codes(s.V), s.MScale.View(), s.VScale.View(), half)
	})
}

// decay is a range's weight decay.
func decay(r Range, weightDecay float64) float64 {
	if r.Decay {
		return weightDecay
	}
	return 0
}

// eachChunk calls f for chunks of a range of 32-bit elements, each as large as a kernel can
// count. Limits of a device's bindings are handled when it compiles.
func eachChunk(first, length int64, f func(offset, bytes int64)) {
	for at := int64(0); at < length; at += 4 * maxKernelElements {
		f(first+at, min(4*maxKernelElements, length-at))
	}
}

// Set writes the step block entries that the AdamW kernel reads: the learning rate and the
// bias corrections of step t, counted from 1.
func (o AdamW) Set(step *[shaders.StepWords]uint32, slot int, lr float64, t int) {
	step[slot] = math.Float32bits(float32(lr))
	step[slot+1] = math.Float32bits(float32(1 / (1 - math.Pow(o.Beta1, float64(t)))))
	step[slot+2] = math.Float32bits(float32(1 / math.Sqrt(1-math.Pow(o.Beta2, float64(t)))))
}
