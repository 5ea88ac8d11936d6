package nn

import (
	"context"

	"patchwork/engine"
	"patchwork/shaders"
)

// AddHalfCopy gives the set a copy of its weights in 16 bits, or for FakeQuant in F32, which
// AdamW updates as well. The matrices of a frozen base are only there. It is called after Seal and before
// the buffers are placed.
func (s *Params) AddHalfCopy(t shaders.Type) {
	s.moveToHalf(t, func(p *Param) bool { return s.base[p.Group] })
	s.halfStale = true
}

// StoreHalf stores matmul weights only in 16 bits, for a model that is not trained. It is
// called after Seal and before the buffers are placed.
func (s *Params) StoreHalf(t shaders.Type) {
	s.noCopies = true
	s.moveToHalf(t, func(*Param) bool { return true })
	s.Grads.Bytes = 0
	s.setMoments(0)
}

// moveToHalf makes Half, of copies of the other weights and of the matmul weights of only,
// which leave Weights.
func (s *Params) moveToHalf(t shaders.Type, only func(p *Param) bool) {
	var moved, at int64 // bytes, of 4 each element
	for _, p := range s.inWeights() {
		end := &at
		if p.halfOnly = p.MatmulWeight && only(p); p.halfOnly {
			end = &moved
		}
		p.offset = *end
		*end += s.alignedBytes(p)
	}
	s.setBytes(at)
	if !s.noCopies {
		s.copies = at
	}
	for _, p := range s.list {
		if p.halfOnly {
			p.offset += s.copies
		}
	}
	s.Half = engine.NewBuffer("weights in "+t.String(), (s.copies+moved)/4*t.Size())
	s.Half.Type = t
}

// setBytes sets the size of Weights, and of the buffers of what is trained.
func (s *Params) setBytes(bytes int64) {
	s.Weights.Bytes = bytes
	end, params := bytes, s.inWeights()
	for i := len(params) - 1; i >= 0 && s.untrained[params[i].Group]; i-- {
		end = params[i].offset
	}
	s.Grads.Bytes = end
	s.setMoments(end)
}

// SyncHalf updates the copy in Half if weights have been written since. It is called
// before a program that reads it.
func (s *Params) SyncHalf(ctx context.Context, dev engine.Device) error {
	if s.Half == nil || !s.halfStale || s.noCopies {
		return nil
	}
	p := engine.NewProgram("round the weights")
	for _, part := range s.Weights.Parts() {
		eachChunk(part.Offset, part.Bytes, func(at, n int64) {
			p.Dispatch(shaders.Copy, shaders.CopyParams{N: uint32(n / 4)}, s.Weights.View().Slice(at, n), s.halfSlice(at, n))
		})
	}
	s.roundCopies(func(*Param) bool { return true }, p.Dispatch)
	if err := engine.RunOnce(ctx, dev, p); err != nil {
		return err
	}
	s.halfStale = false
	return nil
}

// HalfView is where a parameter's values in Half are.
func (s *Params) HalfView(p *Param) engine.View { return s.halfSlice(p.offset, p.Bytes()) }

// halfSlice is the part of Half at an offset that counts 4 bytes a value, as many bytes as that.
func (s *Params) halfSlice(offset, bytes int64) engine.View {
	size := s.Half.Type.Size()
	return s.Half.View().Slice(offset/4*size, bytes/4*size)
}

// WeightsWritten tells that weights were written on the device, other than by AdamW.
func (s *Params) WeightsWritten() { s.halfStale = true }
