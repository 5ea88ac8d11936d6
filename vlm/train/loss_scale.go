package train

import (
	"math"

	"patchwork/shaders"
	"patchwork/vlm"
)

// LossScale is dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018): the
// loss is multiplied by Scale so that small gradients do not underflow in f16. When the gradients
// overflow the step is skipped and the scale halved; after growthInterval steps without overflow
// it is doubled.
type LossScale struct {
	Scale     float64 `json:"loss_scale"`          // a power of two; 0 = initialScale
	GoodSteps int     `json:"loss_scale_steps"`    // since the scale changed
	Overflows int     `json:"overflows,omitempty"` // skipped steps
}

const (
	initialScale   = 1 << 16
	growthInterval = 2000
	maxScale       = 1 << 24
)

// factor returns the loss scale of a model: 1 unless it is stored in f16, the only type with fewer
// exponent bits than float32.
func (l *LossScale) factor(m *vlm.Model) float64 {
	if m.Storage() != shaders.F16 {
		return 1
	}
	if l.Scale == 0 {
		l.Scale = initialScale
	}
	return l.Scale
}

// Update adjusts the scale to a step's gradient norm. It reports whether the gradients overflowed
// and the scale was halved; non-finite gradients at scale 1 are not an overflow.
func (l *LossScale) Update(norm float64) (overflowed bool) {
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		l.GoodSteps = 0
		if l.Scale > 1 {
			l.Scale /= 2
			l.Overflows++
			return true
		}
		return false
	}
	if l.GoodSteps++; l.GoodSteps >= growthInterval && l.Scale > 0 && l.Scale < maxScale {
		l.Scale, l.GoodSteps = 2*l.Scale, 0
	}
	return false
}
