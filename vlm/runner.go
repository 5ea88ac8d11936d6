package vlm

import "patchwork/engine"

// Runner is a model that is ready on a device. Close gives its memory back.
type Runner struct {
	*Model
	Processor *Processor
	Device    engine.Device
}
