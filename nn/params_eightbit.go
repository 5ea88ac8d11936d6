package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/eightbit"
)

// EightBitMoments stores the moments in 8 bits: M and V hold the codes of package eightbit, MScale
// and VScale the scales of their blocks. It is called after Seal, before Quantise, StoreHalf
// and AddHalfCopy, and before the buffers are placed. ShardMoments cannot be used with it.
func (s *Params) EightBitMoments() {
	s.MScale, s.VScale = engine.NewBuffer("scales of first moments", 0), engine.NewBuffer("scales of second moments", 0)
	s.M.Type, s.V.Type = shaders.U32, shaders.U32
	s.setBytes(s.place())
}

// setMoments sets the size of the moments, given in bytes of 32-bit values.
func (s *Params) setMoments(bytes int64) {
	if s.MScale == nil {
		s.M.Bytes, s.V.Bytes = bytes, bytes
		return
	}
	s.M.Bytes, s.V.Bytes = bytes/4, bytes/4
	s.MScale.Bytes, s.VScale.Bytes = bytes/eightbit.Block, bytes/eightbit.Block
}

// Moments are the buffers of the optimizer's moments, with their scales.
func (s *Params) Moments() []*engine.Buffer {
	if s.MScale == nil {
		return []*engine.Buffer{s.M, s.V}
	}
	return []*engine.Buffer{s.M, s.V, s.MScale, s.VScale}
}

// momentScales are the scales of M or V in 8 bits; nil for other buffers.
func (s *Params) momentScales(b *engine.Buffer) *engine.Buffer {
	switch b {
	case s.M:
		return s.MScale
	case s.V:
		return s.VScale
	}
	return nil
}

// writeMoments encodes whole rows of a parameter's moments. The first begins a block, and what is
// behind the last in its block is zero.
func (s *Params) writeMoments(dev engine.Device, to *engine.Buffer, p *Param, row int, values []float32) error {
	codes := make([]byte, alignUp(int64(len(values)), eightbit.Block))
	scales := make([]float32, len(codes)/eightbit.Block)
	encode := eightbit.EncodeFirst
	if to == s.V {
		encode = eightbit.EncodeSecond
	}
	for i := range scales {
		at := i * eightbit.Block
		scales[i] = encode(codes[at:], values[at:min(at+eightbit.Block, len(values))])
	}
	first := p.offset/4 + int64(row*size(p.Shape[1:]))
	if err := engine.UploadBytes(dev, to.View(), first, codes); err != nil {
		return err
	}
	return engine.UploadFloats(dev, s.momentScales(to).View().Slice(first/eightbit.Block*4, int64(4*len(scales))), scales)
}

// readMoments returns the values of a parameter's moments in 8 bits.
func (s *Params) readMoments(dev engine.Device, from *engine.Buffer, p *Param) ([]float32, error) {
	codes := make([]byte, alignUp(p.Count(), eightbit.Block))
	scales := make([]float32, len(codes)/eightbit.Block)
	if err := engine.DownloadBytes(dev, from.View(), p.offset/4, codes); err != nil {
		return nil, err
	}
	if err := engine.DownloadFloats(dev, s.momentScales(from).View().Slice(p.offset/eightbit.Block, int64(4*len(scales))), scales); err != nil {
		return nil, err
	}
	return s.decodeMoments(from, p, codes, scales), nil
}

// decodeMoments are the values of a parameter's codes.
func (s *Params) decodeMoments(from *engine.Buffer, p *Param, codes []byte, scales []float32) []float32 {
	decode := eightbit.DecodeFirst
	if from == s.V {
		decode = eightbit.DecodeSecond
	}
	values := make([]float32, p.Count())
	for i, scale := range scales {
		at := i * eightbit.Block
		decode(values[at:min(at+eightbit.Block, len(values))], codes[at:], scale)
	}
	return values
}
