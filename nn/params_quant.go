package nn

import (
	"fmt"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// Quantise stores matrices only in the block formats that format returns for them, of those
// for which ok is true: matmul weights that take no gradients. It is called after Seal,
// before StoreHalf or AddHalfCopy, and before the buffers are placed. The rows of a matrix
// must be whole blocks.
func (s *Params) Quantise(format func(p *Param) (f quant.Format, ok bool)) {
	var blocks, at int64
	for _, p := range s.list {
		f, ok := format(p)
		if !ok || !p.MatmulWeight {
			p.offset = at
			at += s.alignedBytes(p)
			continue
		}
		p.format, p.offset = &f, blocks
		blocks += alignUp(p.blockBytes(), engine.Alignment)
	}
	if blocks > 0 {
		s.Blocks = engine.NewBuffer("quantised weights", blocks)
		s.Blocks.Type = shaders.U32
	}
	s.setBytes(at)
}

// Format is the block format in which the parameter is stored; ok is false where it is not
// quantised.
func (p *Param) Format() (f quant.Format, ok bool) {
	if p.format == nil {
		return 0, false
	}
	return *p.format, true
}

// blockBytes is the size of a quantised parameter.
func (p *Param) blockBytes() int64 { return int64(p.format.Bytes(size(p.Shape))) }

// StoredBytes is the size of a parameter as matmuls read it.
func (s *Params) StoredBytes(p *Param) int64 {
	switch {
	case p.format != nil:
		return p.blockBytes()
	case s.Half != nil && p.MatmulWeight:
		return p.Bytes() / 4 * s.Half.Type.Size()
	}
	return p.Bytes()
}

// rowBytes is the size of one row of a quantised parameter.
func (p *Param) rowBytes() int { return p.format.Bytes(size(p.Shape[1:])) }

// FillBlocks writes the first rows of a quantised parameter, some rows at a time: read
// fills dst with the blocks from a row on.
func (s *Params) FillBlocks(dev engine.Device, p *Param, rows int, read func(row int, dst []byte) error) error {
	size := p.rowBytes()
	step := max(1, fillElements/size)
	buffer := make([]byte, min(rows, step)*size)
	for row := 0; row < rows; row += step {
		part := buffer[:min(step, rows-row)*size]
		if err := read(row, part); err != nil {
			return err
		}
		if err := s.writeBlocks(dev, p, row, part); err != nil {
			return err
		}
	}
	return nil
}

// writeBlocks writes whole rows of a quantised parameter. Devices write whole words, which
// at either end may be shared with another row.
func (s *Params) writeBlocks(dev engine.Device, p *Param, row int, data []byte) error {
	v, start := s.blocksView(p), int64(row*p.rowBytes())
	end := start + int64(len(data))
	if start%4 == 0 && end%4 == 0 {
		return engine.UploadBytes(dev, v, start, data)
	}
	first := start &^ 3
	words := make([]byte, alignUp(end, 4)-first)
	if err := engine.DownloadBytes(dev, v, first, words); err != nil {
		return err
	}
	copy(words[start-first:], data)
	return engine.UploadBytes(dev, v, first, words)
}

// writeQuantised rounds whole rows of values to the blocks of a quantised parameter.
func (s *Params) writeQuantised(dev engine.Device, p *Param, row int, values []float32) error {
	data := make([]byte, p.format.Bytes(len(values)))
	quant.EncodeParallel(*p.format, data, values)
	return s.writeBlocks(dev, p, row, data)
}

// readQuantised returns the values of a quantised parameter.
func (s *Params) readQuantised(dev engine.Device, p *Param) ([]float32, error) {
	data := make([]byte, alignUp(p.blockBytes(), 4))
	if err := engine.DownloadBytes(dev, s.blocksView(p), 0, data); err != nil {
		return nil, err
	}
	values := make([]float32, size(p.Shape))
	p.format.Decode(values, data)
	return values, nil
}

func (s *Params) blocksView(p *Param) engine.View {
	return s.Blocks.View().Slice(p.offset, alignUp(p.blockBytes(), 4))
}

// inWeights are the parameters that have a place in Weights, in the order of memory.
func (s *Params) inWeights() []*Param {
	var params []*Param
	for _, p := range s.list {
		if p.format == nil && !p.halfOnly {
			params = append(params, p)
		}
	}
	return params
}

// shardBlocks splits the quantised weights between parameters where a device needs it.
func (s *Params) shardBlocks(info engine.Info) error {
	limit := info.Limits.MaxBufferBytes
	if s.Blocks == nil || limit == 0 || s.Blocks.Bytes <= limit {
		return nil
	}
	var offsets []int64
	var start int64
	for _, p := range s.list {
		if p.format == nil {
			continue
		}
		end := p.offset + alignUp(p.blockBytes(), engine.Alignment)
		if end-start > limit && p.offset > start {
			offsets, start = append(offsets, p.offset), p.offset
		}
		if end-start > limit {
			return fmt.Errorf("%s needs %s in one buffer, %s allows at most %s: %w; --device cpu has no such limit",
				p.Name, engine.Bytes(p.blockBytes()), info.Device, engine.Bytes(limit), engine.ErrUnsupported)
		}
	}
	s.Blocks.SplitAt(offsets)
	return nil
}

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
