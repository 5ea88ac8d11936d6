package vlm

import (
	"patchwork/nn"
)

// Estimation is what a run will take, found by recording it without a device.
type Estimation struct {
	Parameters    int64       `json:"parameters"`
	TokensPerStep int         `json:"tokens_per_step"` // places, padding included
	FlopsPerStep  float64     `json:"flops_per_step"`
	MemoryBytes   MemoryBytes `json:"memory_bytes"`
	Hours         float64     `json:"hours"`
	Dollars       float64     `json:"dollars"`
}

// MemoryBytes is the engine's own memory.
type MemoryBytes struct {
	Weights     int64 `json:"weights"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"`
	Activations int64 `json:"activations"` // the step's arena and the inputs
	Total       int64 `json:"total"`
}

// Estimate records and plans a recipe's step.
func Estimate(r Recipe) (Estimation, error) {
	if err := r.Check(); err != nil {
		return Estimation{}, err
	}
	text := *r.Text
	m, err := NewModel(r.config(text, text.VocabSize-1), r.Init)
	if err != nil {
		return Estimation{}, err
	}
	shape := shapeFor(m.Config, r.BatchSize, r.SeqLen)
	in := m.newInputs(shape.Rows, shape.Tokens, shape.Pictures, shape.Tokens)
	plan, _, err := planStep(m, in, true, r.Accumulate > 1)
	if err != nil {
		return Estimation{}, err
	}
	update, _, err := planUpdate(m, nn.AdamW{})
	if err != nil {
		return Estimation{}, err
	}
	weights := m.Params.Weights.Bytes
	memory := MemoryBytes{Weights: weights, Gradients: weights, Optimizer: 2 * weights, Activations: max(plan.Arena, update.Arena) + in.bytes()}
	memory.Total = memory.Weights + memory.Gradients + memory.Optimizer + memory.Activations
	return Estimation{
		Parameters: m.Params.Count(), TokensPerStep: r.BatchSize * r.SeqLen * r.Accumulate,
		FlopsPerStep: float64(r.Accumulate)*planFlops(plan) + planFlops(update), MemoryBytes: memory,
	}, nil
}
