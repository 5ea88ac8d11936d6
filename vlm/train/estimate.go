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

// Estimation is what a run will take, found by recording it without a device.
type Estimation struct {
	Parameters    int64       `json:"parameters"`
	TokensPerStep int         `json:"tokens_per_step"` // places, padding included
	FlopsPerStep  float64     `json:"flops_per_step"`  // of full rows of the samples assumed
	MemoryBytes   MemoryBytes `json:"memory_bytes"`
	DType         string      `json:"dtype"`
	Recompute     bool        `json:"recompute"`
	SampleTokens  int         `json:"sample_tokens"` // of the sample assumed, its picture included
	Steps         int         `json:"steps"`
	Hours         float64     `json:"hours"`
	Dollars       float64     `json:"dollars"`

	AttentionFlops float64   `json:"attention_flops_per_step"` // a part of FlopsPerStep
	DiskBytes      DiskBytes `json:"disk_bytes"`
	Device         string    `json:"device,omitempty"` // whose hours they are

	// What the hours are reckoned with, and where it is from.
	FlopsPerSecond float64 `json:"flops_per_s"`
	RateSource     string  `json:"rate_source"`
	RateMeasured   bool    `json:"rate_measured"` // not assumed
}

// DiskBytes is what a run writes to its folder.
type DiskBytes struct {
	Model      int64 `json:"model"`
	Checkpoint int64 `json:"checkpoint"` // one, with the optimizer's moments
	Most       int   `json:"checkpoints_at_once"`
	Total      int64 `json:"total"`
	Free       int64 `json:"free,omitempty"` // where the folder lies, as far as that is known
}

// Keep counts the checkpoints that a run of a recipe has at once: the newest, the best
// of its validations, and one that is being written before an old one goes.
func (d *DiskBytes) Keep(r Recipe, steps, newest int) {
	d.Most = newest + 1
	if r.ValEvery > 0 {
		d.Most++
	}
	saves := 1 // at the end
	if r.SaveEvery > 0 {
		saves = max(1, (steps+r.SaveEvery-1)/r.SaveEvery)
	}
	d.Most = min(d.Most, saves)
	d.Total = d.Model + int64(d.Most)*d.Checkpoint
}

// MemoryBytes is the engine's own memory. In 16 bits the weights and most
// activations take 2 bytes an element; the optimizer then holds weights of 4
// bytes besides its moments, and gradients keep 4.
type MemoryBytes struct {
	Weights     int64 `json:"weights"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"`
	Activations int64 `json:"activations"` // the step's arena and the inputs
	Total       int64 `json:"total"`
}

// Fits says whether a device of so many bytes holds it, with a tenth to spare for
// what a driver and other processes take.
func (m MemoryBytes) Fits(device int64) bool { return m.Total <= device-device/10 }

// sampleText is how many tokens a sample is taken to have beside its picture: a
// question, an answer and the template around them, as in FineVision's captions.
const sampleText = 274

// Estimate records and plans a recipe's step, with recomputation or without.
func Estimate(r Recipe, recompute bool) (Estimation, error) {
	if err := r.Check(); err != nil {
		return Estimation{}, err
	}
	text := *r.Text
	m, err := vlm.NewModel(r.config(text, text.VocabSize-1), r.Init)
	if err != nil {
		return Estimation{}, err
	}
	if r.frozenThroughout() {
		m.Params.Untrained(vlm.GroupDecoder)
	}
	return r.estimate(m, recompute)
}

func (r Recipe) estimate(m *vlm.Model, recompute bool) (Estimation, error) {
	shape := shapeFor(m.Config, r.BatchSize, r.SeqLen)
	in := m.NewInputs(shape.Rows, shape.Tokens, shape.Pictures, shape.Tokens)
	load := r.expected()
	m.Store(r.storage())
	o := nn.Options{Train: true, Recompute: recompute, AttentionDensity: load.visible}
	first, _, err := planStep(m, in, o)
	if err != nil {
		return Estimation{}, err
	}
	o.Accumulate = true
	further, _, err := planStep(m, in, o)
	if err != nil {
		return Estimation{}, err
	}
	update, _, err := planUpdate(m, nn.AdamW{})
	if err != nil {
		return Estimation{}, err
	}
	e := Estimation{
		Parameters: m.Params.Count(), TokensPerStep: r.BatchSize * r.SeqLen * r.Accumulate,
		DType: r.DType, Recompute: recompute, SampleTokens: load.sample, Steps: r.Steps,
		FlopsPerStep: first.Flops(load.step[:]) + float64(r.Accumulate-1)*further.Flops(load.step[:]) + update.Flops(load.step[:]),
	}
	e.AttentionFlops = attentionFlops(first, &load.step) + float64(r.Accumulate-1)*attentionFlops(further, &load.step)
	e.MemoryBytes = memoryFor(m.Params)
	e.DiskBytes = DiskBytes{Model: m.Params.Weights.Bytes, Checkpoint: checkpoint.Bytes(m)}
	e.MemoryBytes.Activations = first.Arena.Max(further.Arena).Max(update.Arena).Total() + in.Bytes()
	if r.ValEvery > 0 {
		answers, err := generate.MemoryBytes(m, m.Config.Vision.Patches()+sampleText, sampleTokens)
		if err != nil {
			return Estimation{}, err
		}
		e.MemoryBytes.Activations += answers
	}
	e.MemoryBytes.Total += e.MemoryBytes.Activations
	return e, nil
}

// memoryFor is the memory beside activations.
func memoryFor(p *nn.Params) MemoryBytes {
	m := MemoryBytes{Weights: p.Weights.Bytes, Gradients: p.Grads.Bytes, Optimizer: p.M.Bytes + p.V.Bytes}
	if p.Half != nil {
		m.Weights += p.Half.Bytes
	}
	m.Total = m.Weights + m.Gradients + m.Optimizer
	return m
}

// expectation is how full a micro-batch is taken to be.
type expectation struct {
	step    [shaders.StepWords]uint32 // its counts
	visible float64                   // part of the pairs of a row's tokens that attention computes
	sample  int                       // tokens
}

// expected fills a recipe's rows with samples of one picture and sampleText tokens.
func (r Recipe) expected() expectation {
	patches := r.Vision.Patches()
	sample := min(patches+sampleText, r.SeqLen)
	perRow := float64(r.SeqLen) / float64(sample)
	count := func(perSample int) uint32 { return uint32(float64(r.BatchSize) * perRow * float64(perSample)) }
	e := expectation{sample: sample}
	e.step[vlm.SlotPatches] = count(min(patches, sample))
	e.step[vlm.SlotTargets] = max(1, count(max(0, sample-patches)))
	e.step[vlm.SlotRuns] = e.step[vlm.SlotTargets]
	triangle := func(n int) float64 { return float64(n) * float64(n+1) / 2 }
	pairs := perRow * triangle(sample)
	switch r.Attention {
	case packing.Causal:
		pairs = triangle(r.SeqLen)
	case packing.DocumentBidirectionalImage:
		pairs += perRow * (float64(patches*patches) - triangle(patches))
	}
	e.visible = pairs / float64(r.SeqLen) / float64(r.SeqLen)
	return e
}

// attentionFlops is the part of it in attention and its gradient.
func attentionFlops(p *engine.Plan, step *[shaders.StepWords]uint32) float64 {
	var flops float64
	for i := range p.Dispatches {
		if k := p.Dispatches[i].Kernel; k == shaders.Attention || k == shaders.AttentionBackward {
			flops += p.Dispatches[i].Cost(step[:]).Flops
		}
	}
	return flops
}
