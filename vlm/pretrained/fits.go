package pretrained

import (
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders/quant"
	"patchwork/vlm"
)

// MemoryError reports that a model does not fit on a device, before it is loaded.
type MemoryError struct {
	Path, Device string
	Need, Have   int64 // bytes, of the weights and of the device's memory
	Rest         int64 // bytes of the cache and the activations, where they are known
	Weights      string
	Smaller      quant.Format // the format of the most bits that would fit
	SmallerBytes int64        // 0: none would
}

func (e *MemoryError) Error() string {
	s := fmt.Sprintf("%s needs %s of memory for its weights in %s", e.Path, engine.Bytes(e.Need), e.Weights)
	if e.Rest > 0 {
		s += fmt.Sprintf(" and %s for its cache and activations", engine.Bytes(e.Rest))
	}
	s += fmt.Sprintf(", but %s has %s", e.Device, engine.Bytes(e.Have))
	if e.SmallerBytes > 0 {
		return s + fmt.Sprintf("; --weights %s takes %s", e.Smaller, engine.Bytes(e.SmallerBytes))
	}
	return s + "; no --weights makes it fit"
}

// Is reports whether the target is engine.ErrOutOfMemory.
func (e *MemoryError) Is(target error) bool { return target == engine.ErrOutOfMemory }

// smallerFormats are the formats that a MemoryError names, those of more bits first.
var smallerFormats = []quant.Format{quant.Q8_0, quant.Q6_K, quant.Q5_K, quant.Q4_K}

// CheckMemory returns a *MemoryError if a model of a path, whose storage is set, does not fit on a
// device together with the rest: its cache and activations, as far as they are known.
func CheckMemory(path string, m *vlm.Model, rest int64, dev engine.Device) error {
	have, need := AvailableMemory(dev), m.WeightBytes()
	if have == 0 || need+rest <= have {
		return nil
	}
	e := &MemoryError{Path: path, Device: dev.Info().Device, Need: need, Have: have, Rest: rest, Weights: m.WeightsName()}
	for _, f := range smallerFormats {
		if bytes := quantisedBytes(m, f); bytes+rest <= have && bytes < need {
			e.Smaller, e.SmallerBytes = f, bytes
			break
		}
	}
	return e
}

// AvailableMemory is the memory that a model may take on a device, in bytes; 0 = unknown.
func AvailableMemory(dev engine.Device) int64 {
	info := dev.Info()
	if info.Kind == "cpu" {
		return engine.FreeHostMemory()
	}
	return info.Memory
}

// quantisedBytes is what a model's weights would take in a format and its mix.
func quantisedBytes(m *vlm.Model, f quant.Format) (n int64) {
	of := quantizations[f.String()].mix.Of(m)
	for _, p := range m.Params.All() {
		n += storedAs(p, of)
	}
	return n
}

func storedAs(p *nn.Param, of func(p *nn.Param) (quant.Format, bool)) int64 {
	if f, ok := of(p); ok {
		return int64(f.Bytes(int(p.Count())))
	}
	return p.Bytes()
}
