package vlm

import "patchwork/engine"

// Runner is a model with its weights on a device. Close releases its memory.
type Runner struct {
	*Model
	Processor *Processor
	Device    engine.Device
}
