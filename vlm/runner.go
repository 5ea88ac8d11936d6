package vlm

import "patchwork/engine"

// Runner is a model whose weights are on a device. Close releases its memory.
type Runner struct {
	*Model
	Processor *Processor
	Device    engine.Device
}
