package vlm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/packing"
)

// Inputs are the device buffers of a batch of static shape.
type Inputs struct {
	Rows, Tokens int // B, T
	Images       int // capacity; 0 = no images
	Frames       int // of sound; capacity, 0 = no sound

	vision   VisionConfig
	audio    AudioConfig
	text     TextConfig
	experts  bool
	ropeRows int // rows of the RoPE table
	// patchSlots is the capacity in patches, and frameSlot the slot of the first frame of sound, after
	// them.
	patchSlots, frameSlot int

	ids, slots, positions             *engine.Buffer
	others                            *engine.Buffer // the tokens that are no image patches, for image experts
	order, starts, idRuns, slotTokens *engine.Buffer
	targetRows, targetIDs             *engine.Buffer
	pixels, pixelTable                *engine.Buffer
	frames                            *engine.Buffer   // [Frames, samples]
	intervals, ropeTables             []*engine.Buffer // by kind of attention
	patchGrid                         patchGrid        // of images that keep their aspect ratio
	floatPixels                       *engine.Buffer   // instead of pixels, in tests

	memories []engine.Memory
	block    []byte // reused by uploads
}

// NewInputs describes the buffers of batches of rows × tokens with up to the given number of
// images; all tokens may be frames of sound, if the model hears. positions is one more than the
// highest position.
func (m *Model) NewInputs(rows, tokens, images, positions int) *Inputs {
	n := rows * tokens
	words := func(label string, n int) *engine.Buffer { return engine.NewBuffer(label, 4*int64(max(1, n))) }
	v, a, t := m.Config.Vision, m.Config.Audio, m.Config.Text
	if v.None() {
		images = 0
	}
	patches := images * v.Patches()
	if v.KeepsAspect() && images > 0 {
		patches = n // of many small images
	}
	frames, frameSlot := 0, 0
	if !a.None() {
		frames = n
		frameSlot = (patches + nn.ConcatAlign - 1) / nn.ConcatAlign * nn.ConcatAlign
	}
	others := 0
	if m.Config.ImageExperts {
		others = n
	}
	in := &Inputs{
		experts: m.Config.ImageExperts && images > 0,
		Rows:    rows, Tokens: tokens, Images: images, Frames: frames, vision: v, audio: a, text: t, ropeRows: positions, patchSlots: patches, frameSlot: frameSlot,
		others: words("other tokens", others),
		ids:    words("ids", n), slots: words("slots", n), positions: words("positions", n),
		order: words("order", n), starts: words("starts", n+1), idRuns: words("runs", n), slotTokens: words("slot tokens", max(patches, frameSlot+frames)),
		targetRows: words("target rows", n), targetIDs: words("targets", n),
		patchGrid:  newPatchGrid(v, patches),
		pixels:     words("pixels", (patches*v.Features()+3)/4),
		frames:     words("frames of sound", frames*a.FrameSize),
		pixelTable: words("pixel values", 256),
	}
	for _, kind := range t.AttentionKinds() {
		in.intervals = append(in.intervals, words("intervals", 4*n))
		in.ropeTables = append(in.ropeTables, words("rope table", positions*kind.HeadDim))
	}
	return in
}

func (in *Inputs) buffers() []*engine.Buffer {
	return slices.Concat([]*engine.Buffer{in.ids, in.slots, in.positions, in.others}, in.intervals, []*engine.Buffer{in.order, in.starts, in.idRuns, in.slotTokens,
		in.targetRows, in.targetIDs}, in.patchGrid.buffers(), []*engine.Buffer{in.pixels, in.frames, in.pixelTable}, in.ropeTables)
}

// Bytes returns the size of the buffers.
func (in *Inputs) Bytes() int64 {
	var n int64
	for _, b := range in.buffers() {
		n += b.Bytes
	}
	return n
}

// Allocate allocates the buffers and writes the constant tables.
func (in *Inputs) Allocate(dev engine.Device) error {
	memories, err := engine.Allocate(dev, "inputs", in.buffers()...)
	if err != nil {
		return err
	}
	in.memories = memories
	if err := engine.Upload(dev, in.pixelTable.View(), in.vision.pixelValues()); err != nil {
		return err
	}
	for i, kind := range in.text.AttentionKinds() {
		if err := engine.Upload(dev, in.ropeTables[i].View(), kind.RoPETable(in.ropeRows)); err != nil {
			return err
		}
	}
	return nil
}

// pixelValues returns value/255, rounded as by a float32 division; for embedders that do not begin with
// a norm, scaled to [-1, 1].
func (v VisionConfig) pixelValues() []float32 {
	values := make([]float32, 256)
	for i := range values {
		if values[i] = float32(i) / 255; v.Embedder != "" {
			values[i] = 2*values[i] - 1
		}
	}
	return values
}

// Close releases the buffers.
func (in *Inputs) Close() {
	engine.Free(in.memories)
}

func (in *Inputs) tensor(b *engine.Buffer) *nn.Tensor { return nn.Input(b, int(b.Bytes/4)) }

// context is the attention context of a batch without a cache.
func (in *Inputs) context() attentionContext {
	var c attentionContext
	for i, kind := range in.text.AttentionKinds() {
		table := nn.Input(in.ropeTables[i], in.ropeRows, kind.HeadDim)
		c.kinds = append(c.kinds, kindContext{nn.RoPE{Table: table, Positions: nn.Input(in.positions, in.Rows, in.Tokens)}, in.tensor(in.intervals[i])})
	}
	if in.experts {
		c.subsets = newTokenSubsets(nn.Input(in.slotTokens, in.patchSlots), in.tensor(in.others))
	}
	return c
}

// patches splits the images into patches: [N·L, C·P²].
func (in *Inputs) patches(g *nn.Graph) *nn.Tensor {
	v := in.vision
	if in.floatPixels != nil && v.Gemma() {
		return nn.Input(in.floatPixels, in.patchSlots, v.Features()).RowCount(SlotPatches)
	}
	if in.floatPixels != nil {
		x := nn.Input(in.floatPixels, in.Images, v.NumChannels, v.ImageSize, v.ImageSize)
		return g.Patchify(x, v.PatchSize).Reshape(in.Images*v.Patches(), v.Features())
	}
	return v.patchify(g, in.tensor(in.pixels), in.tensor(in.pixelTable), in.patchSlots, SlotPatches)
}

// sound are the frames of sound: [F, samples].
func (in *Inputs) sound() *nn.Tensor {
	return nn.Input(in.frames, in.Frames, in.audio.FrameSize).RowCount(SlotFrames)
}

func (in *Inputs) tokens() nn.TokenIndex {
	return nn.TokenIndex{
		IDs: in.tensor(in.ids), Slots: in.tensor(in.slots), Order: in.tensor(in.order), Starts: in.tensor(in.starts),
		SegmentIDs: in.tensor(in.idRuns), SegmentsSlot: SlotRuns, SlotTokens: in.tensor(in.slotTokens),
	}
}

// Upload writes a batch, with its frames of sound, and the pixels of its images, [images,S,S,C] or
// [patches,P,P,C], and sets its entries of the step block. It returns the number of targets.
func (in *Inputs) Upload(dev engine.Device, b *packing.Batch, pixels []byte, step *[shaders.StepWords]uint32) (int, error) {
	index := b.EmbeddingOrder()
	slotTokens := make([]int32, in.slotTokens.Bytes/4)
	var rows, targets, others []int32
	slots, patches, frames, err := in.slotsOf(b)
	if err != nil {
		return 0, err
	}
	for t, slot := range slots {
		if slot >= 0 {
			slotTokens[slot] = int32(t)
		}
		if in.experts && b.ImageSlots[t] < 0 {
			others = append(others, int32(t))
		}
		if b.Targets[t] >= 0 {
			rows, targets = append(rows, int32(t)), append(targets, b.Targets[t])
		}
	}
	step[SlotPatches], step[SlotTargets], step[SlotRuns] = uint32(patches), uint32(len(targets)), uint32(len(index.SegmentID))
	step[SlotQuarters], step[SlotOthers] = uint32(4*patches), uint32(len(others))
	if in.Frames > 0 { // otherwise it is SlotPast
		step[SlotFrames] = uint32(frames)
	}
	all := []words{{in.ids, b.IDs}, {in.slots, slots}, {in.positions, b.Positions}, {in.others, others}}
	for i, kind := range in.text.AttentionKinds() {
		all = append(all, words{in.intervals[i], kind.Intervals(b.Intervals, b.Positions, in.Tokens, 0)})
	}
	all = append(all, []words{
		{in.order, index.Order}, {in.starts, index.SegmentStart}, {in.idRuns, index.SegmentID},
		{in.slotTokens, slotTokens}, {in.targetRows, rows}, {in.targetIDs, targets},
	}...)
	grid, err := in.patchGrid.words(in.vision, b, patches)
	if err != nil {
		return 0, err
	}
	if err := in.uploadWords(dev, append(all, grid...)); err != nil {
		return 0, err
	}
	if len(b.Frames) > 0 {
		if err := engine.Upload(dev, in.frames.View().Slice(0, 4*int64(len(b.Frames))), b.Frames); err != nil {
			return 0, err
		}
	}
	if len(pixels) > 0 {
		memory, offset := in.pixels.Placed()
		if err := dev.Write(memory, offset, pixels); err != nil {
			return 0, err
		}
	}
	return len(targets), nil
}

// slotsOf returns the row of the features for each token of a batch, or -1, and the numbers of
// patches and frames.
func (in *Inputs) slotsOf(b *packing.Batch) (slots []int32, patches, frames int, err error) {
	slots = slices.Clone(b.ImageSlots)
	for t := range slots {
		switch {
		case slots[t] >= 0:
			patches++
		case b.FrameSlots != nil && b.FrameSlots[t] >= 0:
			slots[t] = int32(in.frameSlot) + b.FrameSlots[t]
			frames++
		}
	}
	if frames > in.Frames || len(b.Frames) != frames*in.audio.FrameSize {
		return nil, 0, 0, fmt.Errorf("upload of %d samples for %d frames of sound of %d samples", len(b.Frames), frames, in.audio.FrameSize)
	}
	return slots, patches, frames, nil
}

// words are values to write at the start of a buffer.
type words struct {
	to     *engine.Buffer
	values []int32
}

// uploadWords writes consecutive buffers, with one transfer per allocation, since a GPU waits
// for each transfer.
func (in *Inputs) uploadWords(dev engine.Device, all []words) error {
	var memory engine.Memory
	var first int64 // offset of block in memory
	block := in.block[:0]
	flush := func() error {
		if memory == nil {
			return nil
		}
		return dev.Write(memory, first, block)
	}
	for _, u := range all {
		if int64(len(u.values))*4 > u.to.Bytes {
			return fmt.Errorf("upload of %d values into %q, which holds %d", len(u.values), u.to.Label, u.to.Bytes/4)
		}
		at, offset := u.to.Placed()
		if at != memory {
			if err := flush(); err != nil {
				return err
			}
			memory, first, block = at, offset, block[:0]
		}
		block = append(block, make([]byte, offset-first-int64(len(block)))...)
		for _, v := range u.values {
			block = binary.NativeEndian.AppendUint32(block, uint32(v))
		}
	}
	in.block = block
	return flush()
}
