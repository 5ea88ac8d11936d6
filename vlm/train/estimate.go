package train

import (
	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
)

// Estimation is the estimated cost of a run, found by recording a step without a device.
type Estimation struct {
	Parameters    int64       `json:"parameters"`
	TokensPerStep int         `json:"tokens_per_step"` // padding included
	FlopsPerStep  float64     `json:"flops_per_step"`  // with rows full of the assumed samples
	MemoryBytes   MemoryBytes `json:"memory_bytes"`
	DType         string      `json:"dtype"`
	Recompute     bool        `json:"recompute"`
	SampleTokens  int         `json:"sample_tokens"` // of an assumed sample, image included
	Steps         int         `json:"steps"`
	Hours         float64     `json:"hours"`
	Dollars       float64     `json:"dollars"`

	AttentionFlops float64   `json:"attention_flops_per_step"` // part of FlopsPerStep
	DiskBytes      DiskBytes `json:"disk_bytes"`
	Device         string    `json:"device,omitempty"` // that Hours is for

	// The throughput that Hours is computed with.
	FlopsPerSecond float64 `json:"flops_per_s"`
	RateSource     string  `json:"rate_source"`
	RateMeasured   bool    `json:"rate_measured"` // false: assumed
}

// DiskBytes is what a run writes to its folder.
type DiskBytes struct {
	Model          int64 `json:"model"`
	Checkpoint     int64 `json:"checkpoint"` // one checkpoint, with the optimizer's moments
	MaxCheckpoints int   `json:"checkpoints_at_once"`
	Total          int64 `json:"total"`
	Free           int64 `json:"free,omitempty"` // on the disk of the folder; 0 = unknown
}

// Keep sets the largest number of checkpoints that a run has at once: the newest, the best of its
// validations, and one being written before an old one is removed.
func (d *DiskBytes) Keep(r Recipe, steps, newest int) {
	d.MaxCheckpoints = newest + 1
	if r.ValEvery > 0 {
		d.MaxCheckpoints++
	}
	saves := 1 // at the end
	if r.SaveEvery > 0 {
		saves = max(1, (steps+r.SaveEvery-1)/r.SaveEvery)
	}
	d.MaxCheckpoints = min(d.MaxCheckpoints, saves)
	d.Total = d.Model + int64(d.MaxCheckpoints)*d.Checkpoint
}

// MemoryBytes is the device memory of training. In 16 bits the weights' half copy and most
// activations take 2 bytes per element; the master weights, moments and gradients take 4.
type MemoryBytes struct {
	Weights     int64 `json:"weights"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"`
	Activations int64 `json:"activations"` // the step's arena and the inputs
	Total       int64 `json:"total"`
}

// Fits reports whether it fits on a device of that many bytes, with a tenth left for the driver
// and other processes.
func (m MemoryBytes) Fits(device int64) bool { return m.Total <= device-device/10 }

// sampleTextTokens is the assumed number of text tokens of a sample: question, answer and chat
// template, as in FineVision's captions.
const sampleTextTokens = 274

// Estimate records and plans a recipe's step, with or without activation checkpointing.
func Estimate(r Recipe, recompute bool) (Estimation, error) {
	if err := r.Check(); err != nil {
		return Estimation{}, err
	}
	text := *r.Text
	m, err := vlm.NewModel(r.plannedConfig(text), r.Init)
	if err != nil {
		return Estimation{}, err
	}
	if r.Decoder != "" {
		r.useOptimizer(m, vlm.GroupEmbedder)
	} else {
		r.useOptimizer(m, vlm.GroupEmbedder, vlm.GroupExperts, vlm.GroupDecoder)
	}
	if r.frozenThroughout() {
		m.Params.Untrained(vlm.GroupDecoder)
	}
	if r.Adapter != nil {
		r.baseOptions().StoreBase(m, nil)
	}
	if r.hasQAT() {
		if err := m.Params.FakeQuant(r.qatFormat(m)); err != nil {
			return Estimation{}, err
		}
	}
	return r.estimate(m, recompute)
}

func (r Recipe) estimate(m *vlm.Model, recompute bool) (Estimation, error) {
	shape := shapeFor(m.Config, r.BatchSize, r.SeqLen)
	in := m.NewInputs(shape.Rows, shape.Tokens, shape.Images, shape.Tokens)
	load := r.expectedBatch()
	if err := r.store(m); err != nil {
		return Estimation{}, err
	}
	o := nn.Options{Train: true, Recompute: recompute, AttentionDensity: load.attentionDensity}
	if slots := shape.Images * m.Config.Vision.Patches(); slots > 0 {
		o.ImageDensity = float64(load.step[vlm.SlotPatches]) / float64(slots)
	}
	first, _, err := planStep(m, in, o)
	if err != nil {
		return Estimation{}, err
	}
	o.Accumulate = true
	further, _, err := planStep(m, in, o)
	if err != nil {
		return Estimation{}, err
	}
	update, _, err := planUpdate(m, r.optimizer(), nil)
	if err != nil {
		return Estimation{}, err
	}
	e := Estimation{
		Parameters: m.Params.Count(), TokensPerStep: r.BatchSize * r.SeqLen * r.Accumulate,
		DType: r.DType, Recompute: recompute, SampleTokens: load.sample, Steps: r.Steps,
		FlopsPerStep: first.Flops(load.step[:]) + float64(r.Accumulate-1)*further.Flops(load.step[:]) + update.Flops(load.step[:]),
	}
	e.AttentionFlops = attentionFlops(first, &load.step) + float64(r.Accumulate-1)*attentionFlops(further, &load.step)
	e.MemoryBytes = parameterMemory(m.Params)
	e.DiskBytes = DiskBytes{Model: modelBytes(m.Params), Checkpoint: checkpoint.Bytes(m)}
	e.MemoryBytes.Activations = first.Arena.Max(further.Arena).Max(update.Arena).Total() + in.Bytes()
	if r.ValEvery > 0 {
		answers, err := generate.PlanMemory(m, m.Config.Vision.Patches()+r.clipTokens()+sampleTextTokens, maxAnswerTokens)
		if err != nil {
			return Estimation{}, err
		}
		e.MemoryBytes.Activations += answers.Total()
	}
	e.MemoryBytes.Total += e.MemoryBytes.Activations
	return e, nil
}

// modelBytes is the size of the weights that a run writes.
func modelBytes(p *nn.Params) (n int64) {
	for _, param := range p.In(p.Weights) {
		n += param.Bytes()
	}
	return n
}

// parameterMemory returns the memory other than activations.
func parameterMemory(p *nn.Params) MemoryBytes {
	m := MemoryBytes{Weights: p.Weights.Bytes, Gradients: p.Grads.Bytes}
	for _, b := range p.Moments() {
		m.Optimizer += b.Bytes
	}
	for _, b := range []*engine.Buffer{p.Half, p.Blocks} {
		if b != nil {
			m.Weights += b.Bytes
		}
	}
	m.Total = m.Weights + m.Gradients + m.Optimizer
	return m
}

// expectedBatch is the assumed contents of a micro-batch.
type expectedBatch struct {
	step             [shaders.StepWords]uint32 // the step block with its counts
	attentionDensity float64                   // visible fraction of a row's query-key pairs
	sample           int                       // tokens
}

// clipSeconds is the assumed length of a sample's clip.
const clipSeconds = 5

// clipTokens is the number of tokens of the assumed clip, 0 for a recipe without sound.
func (r Recipe) clipTokens() int {
	if r.Audio.None() {
		return 0
	}
	return r.Audio.Tokens(clipSeconds * r.Audio.SampleRate)
}

// expectedBatch fills a recipe's rows with samples of one image, one clip and sampleTextTokens tokens.
func (r Recipe) expectedBatch() expectedBatch {
	patches, frames := r.Vision.Patches(), r.clipTokens()
	media := patches + frames
	sample := min(media+sampleTextTokens, r.SeqLen)
	perRow := float64(r.SeqLen) / float64(sample)
	count := func(perSample int) uint32 { return uint32(float64(r.BatchSize) * perRow * float64(perSample)) }
	e := expectedBatch{sample: sample}
	e.step[vlm.SlotPatches] = count(min(patches, sample))
	e.step[vlm.SlotQuarters] = 4 * e.step[vlm.SlotPatches]
	e.step[vlm.SlotOthers] = uint32(r.BatchSize*r.SeqLen) - e.step[vlm.SlotPatches]
	e.step[vlm.SlotFrames] = count(min(frames, max(0, sample-patches)))
	e.step[vlm.SlotTargets] = max(1, count(max(0, sample-media)))
	e.step[vlm.SlotRuns] = e.step[vlm.SlotTargets]
	triangle := func(n int) float64 { return float64(n) * float64(n+1) / 2 }
	pairs := perRow * triangle(sample)
	switch r.Attention {
	case packing.Causal:
		pairs = triangle(r.SeqLen)
	case packing.DocumentBidirectionalImage:
		pairs += perRow * (float64(patches*patches) - triangle(patches))
	}
	e.attentionDensity = pairs / float64(r.SeqLen) / float64(r.SeqLen)
	return e
}

// attentionFlops returns the FLOPs of attention and its gradient.
func attentionFlops(p *engine.Plan, step *[shaders.StepWords]uint32) float64 {
	var flops float64
	for i := range p.Dispatches {
		if k := p.Dispatches[i].Kernel; k == shaders.Attention || k == shaders.AttentionBackward {
			flops += p.Dispatches[i].Cost(step[:]).Flops
		}
	}
	return flops
}
