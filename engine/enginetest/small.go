package enginetest

import "patchwork/engine"

// Small is a device with a lower limit of buffer sizes.
type Small struct {
	engine.Device
	Limit int64 // bytes of one buffer
	// Segments is the largest number of memories of a program's temporaries.
	Segments *int
}

// NewSmall limits the buffers of a device to limit bytes.
func NewSmall(dev engine.Device, limit int64) Small { return Small{dev, limit, new(int)} }

// Info describes the device with the limit.
func (s Small) Info() engine.Info {
	i := s.Device.Info()
	i.Limits.MaxBufferBytes = s.Limit
	return i
}

// Allocate fails for sizes above the limit.
func (s Small) Allocate(bytes int64, what string) (engine.Memory, error) {
	if bytes > s.Limit {
		return nil, &engine.OutOfMemoryError{Device: s.Info().Device, What: what, Asked: bytes, Available: s.Limit}
	}
	return s.Device.Allocate(bytes, what)
}

// Compile fails for a plan with a segment above the limit.
func (s Small) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	for _, bytes := range p.Arena {
		if bytes > s.Limit {
			return nil, &engine.OutOfMemoryError{Device: s.Info().Device, What: "activations", Asked: bytes, Available: s.Limit}
		}
	}
	*s.Segments = max(*s.Segments, len(p.Arena))
	return s.Device.Compile(p, arena)
}
