package nn

import (
	"context"

	"patchwork/engine"
	"patchwork/shaders"
)

// AddHalfCopy gives the set a copy of its weights in 16 bits, which AdamW updates as
// well. It is called after Seal and before the buffers are placed.
func (s *Params) AddHalfCopy(t shaders.Type) {
	s.Half = engine.NewBuffer("weights in "+t.String(), s.Weights.Bytes/2)
	s.Half.Type, s.halfStale = t, true
}

// StoreHalf stores matmul weights only in 16 bits, for a model that is not trained. It is
// called after Seal and before the buffers are placed.
func (s *Params) StoreHalf(t shaders.Type) {
	var weights, others int64 // bytes, of 4 each element
	for _, p := range s.inWeights() {
		end := &others
		if p.MatmulWeight {
			end = &weights
		}
		p.offset = *end
		*end += alignedBytes(p)
	}
	s.Weights.Bytes, s.halfOnly = others, true
	s.Grads.Bytes, s.M.Bytes, s.V.Bytes = 0, 0, 0
	s.Half = engine.NewBuffer("weights in "+t.String(), weights/2)
	s.Half.Type = t
}

// SyncHalf updates the copy in 16 bits if weights have been written since. It is called
// before a program that reads it.
func (s *Params) SyncHalf(ctx context.Context, dev engine.Device) error {
	if s.Half == nil || !s.halfStale || s.halfOnly {
		return nil
	}
	p := engine.NewProgram("round the weights")
	for _, part := range s.Weights.Parts() {
		eachChunk(part.Offset, part.Bytes, func(at, n int64) {
			p.Dispatch(shaders.Copy, shaders.CopyParams{N: uint32(n / 4)}, s.Weights.View().Slice(at, n), s.Half.View().Slice(at/2, n/2))
		})
	}
	if err := engine.RunOnce(ctx, dev, p); err != nil {
		return err
	}
	s.halfStale = false
	return nil
}

// HalfView is where a parameter's copy in 16 bits is.
func (s *Params) HalfView(p *Param) engine.View {
	return s.Half.View().Slice(p.offset/2, p.Bytes()/2)
}

// WeightsWritten tells that weights were written on the device, other than by AdamW.
func (s *Params) WeightsWritten() { s.halfStale = true }
