package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// Bench is a training step on random data, for measurements. Each row alternates between images
// and as many text tokens; rows too short for an image are text only. Attention is causal over a
// row, and every text token is a target. The PyTorch peer is timed on the same work.
type Bench struct {
	Flops  float64 // of one step
	Tokens int     // of one step
	Counts StepCounts

	model     *vlm.Model
	trainStep *TrainStep
	batch     *packing.Batch
	pixels    []byte
	targets   int
	steps     int
	loss      [1]float32
}

// StepCounts are a step's counts on a device's queue.
type StepCounts struct {
	Dispatches int `json:"dispatches"`
	Barriers   int `json:"barriers"`
	Submits    int `json:"submits"` // command buffers with dispatches, on devices that have them
}

func (c *StepCounts) add(p *engine.Plan, info engine.Info) {
	p = p.Within(info.Limits.MaxBindingBytes)
	c.Dispatches += len(p.Dispatches)
	for _, barrier := range p.Barrier {
		if barrier {
			c.Barriers++
		}
	}
	c.Submits += len(engine.SubmitChunks(p.Dispatches, info.Class))
}

// NewBench prepares a step of a recipe's model on a device, with the recipe's dtype.
func NewBench(dev engine.Device, r Recipe, rows, tokens int) (_ *Bench, err error) {
	m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if r.Adapter != nil {
		r.baseOptions().StoreBase(m, nil)
	}
	m.Store(r.storage())
	if err := m.Allocate(dev, true); err != nil {
		return nil, err
	}
	if err := m.Params.Initialise(dev, 0); err != nil {
		return nil, err
	}
	images := imagesPerRow(m.Config, tokens)
	shape := StepShape{rows, tokens, rows * images}
	s, err := NewTrainStep(m, dev, shape, nn.AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxNorm: 1})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	b := &Bench{model: m, trainStep: s, Tokens: rows * tokens}
	b.fillRandom(m.Config, rows, tokens, images)
	s.Recompute = r.Recompute == "on"
	s.AttentionDensity = float64(tokens+1) / float64(2*tokens)
	if _, err := s.in.Upload(dev, b.batch, b.pixels, &s.step); err != nil {
		return nil, err
	}
	for _, key := range []string{programFirst, programUpdate} {
		p, _, err := s.plan(key)
		if err != nil {
			return nil, err
		}
		b.Flops += p.Flops(s.step[:])
		b.Counts.add(p, dev.Info())
	}
	return b, nil
}

// imagesPerRow returns the number of images in a row of tokens.
func imagesPerRow(c vlm.Config, tokens int) int {
	patches := c.Vision.Patches()
	if patches == 0 || patches >= tokens {
		return 0
	}
	return max(1, tokens/(2*patches))
}

// framesPerRow returns the number of frames of sound in a row of tokens, for a model that has no
// images.
func framesPerRow(c vlm.Config, tokens int) int {
	if c.Audio.None() || !c.Vision.None() {
		return 0
	}
	return tokens / 2
}

// fillRandom makes the random batch, its pixels and its frames of sound.
func (b *Bench) fillRandom(c vlm.Config, rows, tokens, images int) {
	random := rand.New(rand.NewPCG(1, 1))
	patches := c.Vision.Patches()
	b.batch = &packing.Batch{Shape: packing.Shape{Rows: rows, T: tokens, Patches: patches}}
	slot, frame, frames := int32(0), int32(0), framesPerRow(c, tokens)
	isImage := func(t int) bool { return t < 2*patches*images && t%(2*patches) < patches }
	isFrame := func(t int) bool { return t < frames }
	for i := range rows * tokens {
		t, imageSlot, frameSlot, target := i%tokens, int32(-1), int32(-1), int32(packing.Ignore)
		switch {
		case isImage(t):
			imageSlot = slot
			slot++
		case isFrame(t):
			frameSlot = frame
			frame++
		}
		if t+1 < tokens && !isImage(t+1) && !isFrame(t+1) {
			target = int32(random.IntN(c.Text.VocabSize - 1))
			b.targets++
		}
		x := b.batch
		x.IDs, x.Segments = append(x.IDs, int32(random.IntN(c.Text.VocabSize-1))), append(x.Segments, 0)
		x.Positions, x.ImageSlots = append(x.Positions, int32(t)), append(x.ImageSlots, imageSlot)
		x.FrameSlots = append(x.FrameSlots, frameSlot)
		x.Intervals, x.Targets = append(x.Intervals, 0, 0, 0, int32(t+1)), append(x.Targets, target)
	}
	b.batch.PatchGrid = make([]int32, 2*slot)
	b.pixels = make([]byte, int(slot)*c.Vision.Features())
	for i := range b.pixels {
		b.pixels[i] = byte(random.Uint32())
	}
	for range int(frame) * c.Audio.FrameSize {
		b.batch.Frames = append(b.batch.Frames, float32(random.NormFloat64()))
	}
}

// Step takes one training step and returns its duration and the part of it spent outside the
// device.
func (b *Bench) Step(ctx context.Context) (elapsed, host time.Duration, err error) {
	b.steps++
	start := time.Now()
	if err := b.trainStep.StartForwardBackward(ctx, MicroBatch{b.batch, b.pixels, 1 / float64(b.targets), true, true}, &b.loss); err != nil {
		return 0, 0, err
	}
	next := func() error { return b.trainStep.Upload(b.batch, b.pixels) } // as in training
	_, err = b.trainStep.Update(ctx, func(string) (float64, int) { return 1e-4, b.steps }, 0, next)
	return time.Since(start), b.trainStep.HostTime(), err
}

// Close releases the device memory.
func (b *Bench) Close() {
	b.trainStep.Close()
	b.model.Close()
}

// Profile takes one training step and times every dispatch.
func (b *Bench) Profile(ctx context.Context) ([]TracedDispatch, error) {
	b.trainStep.StartTrace()
	_, _, err := b.Step(ctx)
	return b.trainStep.StopTrace(), err
}

// RandomModel makes a recipe's model with random weights, stored as the options say, and no
// processor.
func RandomModel(dev engine.Device, r Recipe, o pretrained.LoadOptions) (*vlm.Runner, error) {
	if r.Text == nil {
		return nil, fmt.Errorf("preset %s has no decoder", r.Preset)
	}
	m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
	if err != nil {
		return nil, err
	}
	o.Store(m)
	if err := m.Allocate(dev, false); err != nil {
		return nil, err
	}
	return &vlm.Runner{Model: m, Device: dev}, m.Params.Initialise(dev, 0)
}

// Recording is the dispatches of one kind of work, recorded without a device.
type Recording struct {
	Work       string // "train", "prefill", "decode"
	Dispatches []engine.Dispatch
	Step       [shaders.StepWords]uint32
}

// WorkKinds are the kinds of work that RecordWork takes.
var WorkKinds = []string{"train", "prefill", "decode"}

// RecordWork records the work of a recipe's model on a kind of device (engine.Info.Kind). "train"
// is Bench's step with the given rows and tokens, "prefill" the encoding of an image and a prefill
// chunk of the largest size into an empty cache, "decode" the token that fills this cache.
func RecordWork(r Recipe, work, kind string, rows, tokens int) (Recording, error) {
	m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
	if err != nil {
		return Recording{}, err
	}
	m.Store(r.storage())
	if work == "train" {
		return recordTraining(m, kind, rows, tokens)
	}
	dispatches, step, err := generate.RecordWork(m, work)
	return Recording{work, dispatches, step}, err
}

func recordTraining(m *vlm.Model, kind string, rows, tokens int) (Recording, error) {
	out := Recording{Work: "train"}
	images := imagesPerRow(m.Config, tokens)
	b := &Bench{}
	b.fillRandom(m.Config, rows, tokens, images)
	for t, slot := range b.batch.ImageSlots {
		switch {
		case slot >= 0:
			out.Step[vlm.SlotPatches]++
		case b.batch.FrameSlots[t] >= 0:
			out.Step[vlm.SlotFrames]++
		}
	}
	out.Step[vlm.SlotQuarters] = 4 * out.Step[vlm.SlotPatches]
	out.Step[vlm.SlotOthers] = uint32(len(b.batch.IDs)) - out.Step[vlm.SlotPatches]
	out.Step[vlm.SlotTargets] = uint32(b.targets)
	out.Step[vlm.SlotRuns] = uint32(len(b.batch.EmbeddingOrder().SegmentID))
	out.Step[vlm.SlotScale] = math.Float32bits(1 / float32(b.targets))
	optimizer := nn.AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxNorm: 1}
	for _, group := range adamGroups {
		optimizer.Set(&out.Step, adamSlot(group), 1e-4, 1)
	}
	in := m.NewInputs(rows, tokens, rows*images, tokens)
	first, _, err := planStep(m, in, nn.Options{Train: true, NoFusion: vlm.NoFusionOn(kind), AttentionDensity: float64(tokens+1) / float64(2*tokens)})
	if err != nil {
		return out, err
	}
	update, _, err := planUpdate(m, optimizer, nil)
	if err != nil {
		return out, err
	}
	out.Dispatches = append(first.Dispatches, update.Dispatches...)
	return out, nil
}
