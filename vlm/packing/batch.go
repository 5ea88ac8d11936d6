package packing

import (
	"cmp"
	"fmt"
	"slices"

	"patchwork/vlm/chat"
)

// Shape is the static size of a batch.
type Shape struct {
	Rows    int
	T       int // tokens per row
	Patches int // tokens of an image whose sample does not say
}

// ImageRef identifies an image of the data set.
type ImageRef struct {
	Row   int // of the data set
	Image int // index in that row
}

// ClipRef identifies a clip of the data set.
type ClipRef struct {
	Row  int // of the data set
	Clip int // index in that row
}

// Batch is rows of packed samples, right-padded; missing rows are all padding. Arrays are
// row-major [Rows, T] unless noted otherwise.
type Batch struct {
	Shape
	IDs       []int32 // 0 on padding
	Positions []int32 // 0 on padding, except with Causal
	Segments  []int32 // index of the sample in its row; -1 on padding
	// Intervals, [Rows, T, 4], are the keys of its row that a token attends to: the prefix
	// [0] to [1]-1, and its own segment [2] to [3]-1. Padding attends to none.
	Intervals []int32
	// ImageSlots are the rows of the image features that replace token embeddings, in the order of
	// their tokens; -1 on text and padding.
	ImageSlots []int32
	// PatchGrid, [slots, 2], are the row and the column in its image of the patch of each slot.
	PatchGrid []int32
	// FrameSlots are the numbers of the frames of sound that replace token embeddings, in the
	// order of their tokens; -1 on all others.
	FrameSlots  []int32
	Targets     []int32 // the id to predict, or Ignore
	TargetCount int
	Images      []ImageRef // in the order of their tokens; an image may occur twice
	Clips       []ClipRef  // of sound, in the order of their tokens; a clip may occur twice
	// Frames are the samples of the clips' frames, [frames, samples], which Build leaves to its
	// caller.
	Frames []float32

	frames int // in Clips
}

// Build lays out samples as a batch. Samples that do not fit the shape are an error, as
// are shared-prefix samples with Causal attention.
func Build(shape Shape, m Modes, rows [][]*Sample) (*Batch, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if len(rows) > shape.Rows {
		return nil, fmt.Errorf("packing: %d rows of samples for a batch of %d rows", len(rows), shape.Rows)
	}
	n := shape.Rows * shape.T
	b := &Batch{
		Shape: shape, IDs: make([]int32, n), Positions: make([]int32, n), Intervals: make([]int32, 4*n), Targets: make([]int32, n),
		Segments: slices.Repeat([]int32{-1}, n), ImageSlots: slices.Repeat([]int32{-1}, n), FrameSlots: slices.Repeat([]int32{-1}, n),
	}
	for i := range shape.Rows {
		var samples []*Sample
		if i < len(rows) {
			samples = rows[i]
		}
		if err := b.fill(i, samples, m); err != nil {
			return nil, err
		}
	}
	for _, target := range b.Targets {
		if target != Ignore {
			b.TargetCount++
		}
	}
	return b, nil
}

func (b *Batch) fill(i int, samples []*Sample, m Modes) error {
	lo, hi := i*b.T, (i+1)*b.T
	r := row{
		ids: b.IDs[lo:hi], images: slices.Repeat([]int32{-1}, b.T), frames: b.FrameSlots[lo:hi], lossMask: make([]bool, b.T),
		positions: b.Positions[lo:hi], intervals: b.Intervals[4*lo : 4*hi], targets: b.Targets[lo:hi],
	}
	var segments []segment
	at := 0
	for number, s := range samples {
		if err := b.checkFits(s, at, m); err != nil {
			return err
		}
		copy(r.ids[at:], s.IDs)
		copy(r.lossMask[at:], s.LossMask)
		for t := range s.IDs {
			b.Segments[lo+at+t] = int32(number)
		}
		for image, start := range s.Images {
			b.addImage(r.images[at+start:], b.ImageSlots[lo+at+start:], s.grid(image, b.Patches), ImageRef{s.Row, image})
		}
		for clip, span := range s.Clips {
			b.addClip(b.FrameSlots[lo+at+span.Start:][:span.Tokens], ClipRef{s.Row, clip})
		}
		segments = append(segments, s.segments(at)...)
		at += s.Len()
	}
	r.layout(segments, m)
	return nil
}

func (b *Batch) checkFits(s *Sample, at int, m Modes) error {
	if at+s.Len() > b.T {
		return fmt.Errorf("packing: a row of %d tokens, want at most %d", at+s.Len(), b.T)
	}
	if s.Grids != nil && len(s.Grids) != len(s.Images) {
		return fmt.Errorf("packing: %d grids for %d images", len(s.Grids), len(s.Images))
	}
	for i, start := range s.Images {
		if n := s.grid(i, b.Patches).Tokens(); start+n > s.Len() {
			return fmt.Errorf("packing: an image of %d tokens at token %d of %d", n, start, s.Len())
		}
	}
	for _, span := range s.Clips {
		if span.Start+span.Tokens > s.Len() {
			return fmt.Errorf("packing: a clip of %d tokens at token %d of %d", span.Tokens, span.Start, s.Len())
		}
	}
	if len(s.TurnStarts) > 0 && m.Attention == Causal {
		return &ModeError{"a shared-prefix sample in a batch with causal attention"}
	}
	return nil
}

// addImage assigns the next rows of image features to the tokens of a grid at the start of images
// and slots.
func (b *Batch) addImage(images, slots []int32, grid chat.Grid, p ImageRef) {
	number := len(b.Images)
	b.Images = append(b.Images, p)
	first := len(b.PatchGrid) / 2
	b.PatchGrid = grid.AppendPlaces(b.PatchGrid)
	for patch := range grid.Tokens() {
		images[patch] = int32(number)
		slots[patch] = int32(first + patch)
	}
}

// PatchOrder sorts the patches by row, and then again by column, of which there are up to side: row g
// has the patches order[starts[g]:starts[g+1]], column g those from starts[side+g] on. The gradients
// of position embeddings are summed in this order.
func (b *Batch) PatchOrder(side int) (order, starts []int32) {
	n := len(b.PatchGrid) / 2
	order, starts = make([]int32, 2*n), make([]int32, 2*side+1)
	for i, g := range b.PatchGrid {
		starts[i%2*side+int(g)+1]++
	}
	for g := range 2 * side {
		starts[g+1] += starts[g]
	}
	next := slices.Clone(starts)
	for i, g := range b.PatchGrid {
		at := &next[i%2*side+int(g)]
		order[*at] = int32(i / 2)
		*at++
	}
	return order, starts
}

// addClip numbers the frames of a clip.
func (b *Batch) addClip(slots []int32, c ClipRef) {
	b.Clips = append(b.Clips, c)
	for i := range slots {
		slots[i] = int32(b.frames)
		b.frames++
	}
}

// isFrame reports whether a token is a frame of sound. A batch that Build did not make may have none.
func (b *Batch) isFrame(t int) bool { return b.FrameSlots != nil && b.FrameSlots[t] >= 0 }

// EmbeddingOrder groups tokens by id, so that the embedding's gradients are summed in a
// fixed order.
type EmbeddingOrder struct {
	Order        []int32 // token indices, 0 to Rows*T-1, ascending within an id
	SegmentStart []int32 // where in Order each id starts, and last len(Order)
	SegmentID    []int32 // the ids, ascending; one fewer than SegmentStart
}

// EmbeddingOrder returns the order of the text tokens. Those of images and sound, and padding, are
// left out: no gradient reaches the embedding table through them.
func (b *Batch) EmbeddingOrder() EmbeddingOrder {
	var e EmbeddingOrder
	for t := range b.IDs {
		if b.Segments[t] >= 0 && b.ImageSlots[t] < 0 && !b.isFrame(t) {
			e.Order = append(e.Order, int32(t))
		}
	}
	slices.SortStableFunc(e.Order, func(x, y int32) int { return cmp.Compare(b.IDs[x], b.IDs[y]) })
	for i, t := range e.Order {
		if i == 0 || b.IDs[t] != b.IDs[e.Order[i-1]] {
			e.SegmentStart, e.SegmentID = append(e.SegmentStart, int32(i)), append(e.SegmentID, b.IDs[t])
		}
	}
	e.SegmentStart = append(e.SegmentStart, int32(len(e.Order)))
	return e
}
