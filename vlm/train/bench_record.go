package train

import (
	"math"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/generate"
)

// Recording is the kernel calls of one kind of work, recorded without a device.
type Recording struct {
	Work       string // "train", "prefill", "decode"
	Dispatches []engine.Dispatch
	Step       [shaders.StepWords]uint32
}

// Works are the kinds of work that RecordWork knows.
var Works = []string{"train", "prefill", "decode"}

// RecordWork records what a recipe's model does on a kind of device, as engine.Info
// has it: "train" is Bench's step of rows of tokens, "prefill" a picture and a whole
// pass of the largest size into an empty cache, "decode" the token that fills this
// cache.
func RecordWork(r Recipe, work, kind string, rows, tokens int) (Recording, error) {
	m, err := vlm.NewModel(r.config(*r.Text, r.Text.VocabSize-1), r.Init)
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
	pictures := benchPictures(m.Config, tokens)
	b := &Bench{}
	b.fill(m.Config, rows, tokens, pictures)
	for _, slot := range b.batch.ImageSlots {
		if slot >= 0 {
			out.Step[vlm.SlotPatches]++
		}
	}
	out.Step[vlm.SlotTargets] = uint32(b.targets)
	out.Step[vlm.SlotRuns] = uint32(len(b.batch.EmbeddingOrder().SegmentID))
	out.Step[vlm.SlotScale] = math.Float32bits(1 / float32(b.targets))
	optimizer := nn.AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxNorm: 1}
	for _, group := range []string{vlm.GroupEmbedder, vlm.GroupDecoder} {
		optimizer.Set(&out.Step, adamSlot(group), 1e-4, 1)
	}
	in := m.NewInputs(rows, tokens, rows*pictures, tokens)
	first, _, err := planStep(m, in, nn.Options{Train: true, NoFusion: vlm.NoFusionOn(kind), AttentionDensity: float64(tokens+1) / float64(2*tokens)})
	if err != nil {
		return out, err
	}
	update, _, err := planUpdate(m, optimizer)
	if err != nil {
		return out, err
	}
	out.Dispatches = append(first.Dispatches, update.Dispatches...)
	return out, nil
}
