package nn

import "math"

// Schedule is a learning-rate schedule: linear warm-up, then a cosine down to Floor times
// the peak at the last step.
type Schedule struct {
	Peak          float64
	Warmup, Steps int
	Floor         float64 // as a fraction of the peak
}

// At is the learning rate of step t, counted from 1.
func (s Schedule) At(t int) float64 {
	if t <= s.Warmup {
		return s.Peak * float64(t) / float64(s.Warmup)
	}
	if s.Steps <= s.Warmup {
		return s.Peak
	}
	done := math.Min(1, float64(t-s.Warmup)/float64(s.Steps-s.Warmup))
	return s.Peak * (s.Floor + (1-s.Floor)*0.5*(1+math.Cos(math.Pi*done)))
}
