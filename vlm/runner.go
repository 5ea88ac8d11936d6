package vlm

import "patchwork/engine"

// Loaded is a model that is ready on a device. Close gives its memory back.
type Runner struct {
	*Model
	Processor *Processor
	Device    engine.Device
}
