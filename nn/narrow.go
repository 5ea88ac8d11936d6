package nn

import (
	"context"

	"patchwork/engine"
	"patchwork/shaders"
)

// Halve gives the set a copy of its weights in 16 bits, which AdamW keeps up to
// date. It is called after Seal and before the buffers are placed.
func (s *Params) Halve(t shaders.Type) {
	s.Narrow = engine.NewBuffer("weights in "+t.String(), s.Weights.Bytes/2)
	s.Narrow.Type, s.stale = t, true
}

// Pack keeps factors in 16 bits alone, for a model that is not trained. It is called
// after Seal and before the buffers are placed.
func (s *Params) Pack(t shaders.Type) {
	var wide, narrow int64
	for _, p := range s.list {
		if p.Factor {
			p.offset = narrow
			narrow += (p.Bytes() + paramAlignment - 1) / paramAlignment * paramAlignment
			continue
		}
		p.offset = wide
		wide += (p.Bytes() + paramAlignment - 1) / paramAlignment * paramAlignment
	}
	s.Weights.Bytes, s.packed = wide, true
	s.Grads.Bytes, s.M.Bytes, s.V.Bytes = 0, 0, 0
	s.Narrow = engine.NewBuffer("weights in "+t.String(), narrow/2)
	s.Narrow.Type = t
}

// Refresh brings the copy up to date where weights have been written since. It is
// called before a program that reads it.
func (s *Params) Refresh(ctx context.Context, dev engine.Device) error {
	if s.Narrow == nil || !s.stale || s.packed {
		return nil
	}
	p := engine.NewProgram("round the weights")
	for _, whole := range s.Weights.Parts() {
		eachPiece(whole.Offset, whole.Bytes, func(at, n int64) {
			p.Dispatch(shaders.Copy, shaders.CopyParams{N: uint32(n / 4)}, s.Weights.View().Slice(at, n), s.Narrow.View().Slice(at/2, n/2))
		})
	}
	if err := engine.RunOnce(ctx, dev, p); err != nil {
		return err
	}
	s.stale = false
	return nil
}

// NarrowView is where a parameter's copy in 16 bits lies.
func (s *Params) NarrowView(p *Param) engine.View {
	return s.Narrow.View().Slice(p.offset/2, p.Bytes()/2)
}
