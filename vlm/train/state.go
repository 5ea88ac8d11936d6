package train

import "patchwork/vlm/checkpoint"

// trainerState is checkpoints/step-N/trainer.json: all of a run's state that is
// no tensor.
type trainerState struct {
	checkpoint.Header
	Cursor  Cursor  `json:"cursor"` // behind the last batch consumed
	Tokens  int64   `json:"tokens"`
	Seconds float64 `json:"seconds"`
	Skipped int     `json:"skipped_steps"` // gradients were not finite
	// LeftOut is how many of a learning-rate group's steps the optimiser left out, which
	// its bias corrections do not count.
	LeftOut map[string]int `json:"left_out,omitempty"`
	LossScale
	Device string `json:"device"`
	Driver string `json:"driver"`
}
