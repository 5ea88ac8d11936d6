package nn

import (
	"fmt"

	"patchwork/engine"
)

// Shard splits the set's buffers into allocations that are not larger than the device
// permits: between blocks where that is possible, otherwise between parameters. It is
// called before the parameters are recorded and placed. If a single parameter is larger,
// it returns an engine.ErrUnsupported.
func (s *Params) Shard(info engine.Info) error {
	if err := s.shardBlocks(info); err != nil {
		return err
	}
	offsets, err := shardOffsets(s.inWeights(), 0, s.Weights.Bytes, 4, info)
	if err != nil {
		return err
	}
	s.Weights.SplitAt(offsets)
	s.Grads.SplitAt(offsets)
	moments := offsets
	if s.MScale != nil {
		moments = dividedBy(4, offsets)
	}
	s.M.SplitAt(moments)
	s.V.SplitAt(moments)
	if s.owned != nil {
		if err := s.splitMoments(info); err != nil {
			return err
		}
	}
	if s.Half == nil {
		return nil
	}
	if s.noCopies {
		offsets = nil
	}
	return s.shardHalf(info, offsets)
}

// shardHalf splits Half at the offsets of its copies, and where they end, and between what
// is only there.
func (s *Params) shardHalf(info engine.Info, copies []int64) error {
	size := s.Half.Type.Size()
	var only []*Param
	for _, p := range s.list {
		if p.halfOnly {
			only = append(only, p)
		}
	}
	offsets, err := shardOffsets(only, s.copies, s.Half.Bytes/size*4, size, info)
	if err != nil {
		return err
	}
	if len(copies)+len(offsets) > 0 && s.copies > 0 && len(only) > 0 {
		offsets = append([]int64{s.copies}, offsets...)
	}
	s.Half.SplitAt(dividedBy(4/size, append(copies[:len(copies):len(copies)], offsets...)))
	return nil
}

// shardOffsets returns the offsets at which to split a buffer of consecutive parameters
// from start to end. Offsets count 4 bytes per element; in memory an element has size bytes.
func shardOffsets(params []*Param, start, end, size int64, info engine.Info) (offsets []int64, err error) {
	limit := info.Limits.MaxBufferBytes
	maxShard := limit / size * 4 / paramAlignment * paramAlignment
	if limit == 0 || end-start <= maxShard {
		return nil, nil
	}
	ends := make([]int64, len(params)) // of each parameter
	for i := range params {
		if ends[i] = end; i+1 < len(params) {
			ends[i] = params[i+1].offset
		}
	}
	blocks := make([]int64, len(params)) // the end of each one's block
	for i := len(params) - 1; i >= 0; i-- {
		if blocks[i] = ends[i]; i+1 < len(params) && sameBlock(params[i], params[i+1]) {
			blocks[i] = blocks[i+1]
		}
	}
	for i, p := range params {
		opens := i == 0 || !sameBlock(p, params[i-1])
		if p.offset > start && (ends[i]-start > maxShard || opens && blocks[i]-start > maxShard) {
			offsets, start = append(offsets, p.offset), p.offset
		}
		if ends[i]-start > maxShard {
			return nil, fmt.Errorf("%s needs %s in one buffer, %s allows at most %s: %w; --device cpu has no such limit",
				p.Name, engine.Bytes(p.Bytes()*size/4), info.Device, engine.Bytes(limit), engine.ErrUnsupported)
		}
	}
	return offsets, nil
}

// sameBlock reports whether two parameters were declared in the same block.
func sameBlock(a, b *Param) bool { return a.Block != "" && a.Block == b.Block }

// dividedBy are the same offsets where values take a 2nd or 4th of the bytes.
func dividedBy(n int64, offsets []int64) []int64 {
	divided := make([]int64, len(offsets))
	for i, at := range offsets {
		divided[i] = at / n
	}
	return divided
}

// Range is a contiguous range of parameters that the optimizer treats alike, in one allocation.
type Range struct {
	Group         string
	Decay, Muon   bool
	Offset, Bytes int64
	Params        []*Param
}

// Ranges returns the ranges of the parameters that are not frozen.
func (s *Params) Ranges() []Range {
	var ranges []Range
	params := s.inWeights()
	for i, p := range params {
		if !s.requiresGrad(p) {
			continue
		}
		end := s.Weights.Bytes
		if i+1 < len(params) {
			end = params[i+1].offset
		}
		if len(ranges) > 0 {
			last := &ranges[len(ranges)-1]
			if last.Group == p.Group && last.Decay == p.Decay && last.Muon == p.Muon && s.Weights.Contiguous(last.Offset, end-last.Offset) {
				last.Bytes, last.Params = end-last.Offset, append(last.Params, p)
				continue
			}
		}
		ranges = append(ranges, Range{p.Group, p.Decay, p.Muon, p.offset, end - p.offset, []*Param{p}})
	}
	return ranges
}
