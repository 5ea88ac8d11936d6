package train

import (
	"math"

	"patchwork/shaders"
	"patchwork/vlm"
)

// LossScale is dynamic loss scaling (Micikevicius et al., "Mixed precision
// training", 2018): gradients that would vanish in f16 are multiplied by Scale on
// their way. It is halved when they overflow, and that step is left out, and
// doubled after growEvery steps without.
type LossScale struct {
	Scale float64 `json:"loss_scale"`          // a power of two; 0 = the first
	Good  int     `json:"loss_scale_steps"`    // since it changed
	Over  int     `json:"overflows,omitempty"` // steps that were left out
}

const (
	firstScale = 1 << 16
	growEvery  = 2000
	largest    = 1 << 24
)

// factor is the scale of a model's gradients: 1 for all that is stored with the
// exponent of a float32.
func (l *LossScale) factor(m *vlm.Model) float64 {
	if m.Storage() != shaders.F16 {
		return 1
	}
	if l.Scale == 0 {
		l.Scale = firstScale
	}
	return l.Scale
}

// Update takes a step's gradient norm and says whether they overflowed with the
// scale to blame: then it is halved, and trying on makes sense.
func (l *LossScale) Update(norm float64) (overflowed bool) {
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		l.Good = 0
		if l.Scale > 1 {
			l.Scale /= 2
			l.Over++
			return true
		}
		return false
	}
	if l.Good++; l.Good >= growEvery && l.Scale > 0 && l.Scale < largest {
		l.Scale, l.Good = 2*l.Scale, 0
	}
	return false
}
