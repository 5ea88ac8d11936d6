package nn

import (
	"fmt"

	"patchwork/engine"
)

// Several processes, ranks, train one set of parameters: each has all weights and gradients, and
// either all moments or only those of its own segments.

// Chunk is a range of parameters whose gradients the ranks sum together. It is divided into a
// segment for each rank, which sums it.
type Chunk struct {
	Range
	Bounds []int64 // in bytes from Offset: rank r has Bounds[r] to Bounds[r+1]
}

// Segment is a rank's segment.
func (c Chunk) Segment(rank int) Range {
	r := c.Range
	r.Offset, r.Bytes = c.Offset+c.Bounds[rank], c.Bounds[rank+1]-c.Bounds[rank]
	r.Params = nil
	for _, p := range c.Params {
		if p.offset >= r.Offset && p.offset < r.Offset+r.Bytes {
			r.Params = append(r.Params, p)
		}
	}
	return r
}

// Chunks divides the parameters that are trained at some time into chunks of about the given
// number of bytes, for a number of ranks. They do not depend on the device or on what is frozen;
// none has parameters of two learning-rate groups, of two allocations, or decayed and others. Muon
// updates whole matrices: its chunks and segments consist of whole ones.
func (s *Params) Chunks(bytes int64, ranks int) []Chunk {
	var chunks []Chunk
	for _, r := range s.trainedRanges() {
		n := max(1, (r.Bytes+bytes/2)/bytes)
		for i := range n {
			c := Chunk{Range: r}
			first, end := r.bound(0, r.Bytes, i, n), r.bound(0, r.Bytes, i+1, n)
			if first == end { // of matrices larger than a chunk
				continue
			}
			c.Offset, c.Bytes = r.Offset+first, end-first
			for rank := range ranks + 1 {
				c.Bounds = append(c.Bounds, r.bound(first, c.Bytes, int64(rank), int64(ranks)))
			}
			chunks = append(chunks, c)
		}
	}
	return chunks
}

// bound is where part i of n begins of the given bytes from an offset in the range on, in bytes from
// there: where a matrix of Muon's begins, if the range has such.
func (r Range) bound(from, bytes, i, n int64) int64 {
	at := chunkBound(bytes, i, n)
	if !r.Muon || i == n {
		return at
	}
	start := int64(0)
	for _, p := range r.Params {
		if d := p.offset - r.Offset - from; d >= 0 && d <= at {
			start = d
		}
	}
	return start
}

// chunkBound is where part i of n begins, at an offset that a kernel can bind. The last ends at
// the end.
func chunkBound(bytes, i, n int64) int64 {
	if i == n {
		return bytes
	}
	return bytes * i / n / paramAlignment * paramAlignment
}

// trainedRanges are the ranges of the parameters when none is frozen.
func (s *Params) trainedRanges() []Range {
	frozen := s.frozen
	s.frozen = nil
	defer func() { s.frozen = frozen }()
	return s.Ranges()
}

// Trained reports whether the parameters of a range take gradients now.
func (s *Params) Trained(r Range) bool { return !s.frozen[r.Group] && !s.untrained[r.Group] }

// ShardMoments leaves this rank the moments of its own segments only. It is called before the
// buffers are placed.
func (s *Params) ShardMoments(chunks []Chunk, rank int) {
	var at int64
	for _, c := range chunks {
		r := c.Segment(rank)
		s.owned = append(s.owned, ownedRange{r, at})
		at += r.Bytes
	}
	s.M.Bytes, s.V.Bytes = at, at
}

// ownedRange is a range of parameters with the offset of its moments in M and V.
type ownedRange struct {
	Range
	moments int64
}

// updated are the ranges that AdamW updates on this rank.
func (s *Params) updated() []ownedRange {
	var ranges []ownedRange
	if s.owned == nil {
		for _, r := range s.Ranges() {
			ranges = append(ranges, ownedRange{r, r.Offset})
		}
		return ranges
	}
	for _, r := range s.owned {
		if r.Bytes > 0 && s.Trained(r.Range) {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// MomentsSharded reports whether this rank has only its own segments' moments.
func (s *Params) MomentsSharded() bool { return s.owned != nil }

// FillMoments makes Fill write moments to a snapshot that has room for all of them.
func (s *Params) FillMoments(to *Snapshot) { s.moments = to }

// MomentBytes is the size of all first moments, which is that of the second.
func (s *Params) MomentBytes() int64 { return s.Grads.Bytes }

// EachOwned calls f for every segment of this rank's moments in a buffer, M or V, one for each
// chunk: its offset among all moments, and the view of its values, which may be empty.
func (s *Params) EachOwned(b *engine.Buffer, f func(offset int64, v engine.View) error) error {
	for _, r := range s.owned {
		if err := f(r.Offset, b.View().Slice(r.moments, r.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

// splitMoments divides the moments of a shard into allocations that a device permits.
func (s *Params) splitMoments(info engine.Info) error {
	limit := info.Limits.MaxBufferBytes
	if limit == 0 {
		return nil
	}
	var offsets []int64
	var start int64
	for _, r := range s.owned {
		if r.Bytes > limit {
			return fmt.Errorf("moments of %s in one buffer, %s allows at most %s: %w", engine.Bytes(r.Bytes), info.Device, engine.Bytes(limit), engine.ErrUnsupported)
		}
		if r.moments+r.Bytes-start > limit {
			offsets, start = append(offsets, r.moments), r.moments
		}
	}
	s.M.SplitAt(offsets)
	s.V.SplitAt(offsets)
	return nil
}
