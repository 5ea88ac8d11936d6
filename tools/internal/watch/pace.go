package watch

import (
	"time"

	"patchwork/vlm"
)

// pace follows how fast the run is. Rates are means over time and not over steps.
func (r *Run) pace(m vlm.StepMetrics) {
	s := &r.state
	s.TokensPerS = r.rate.add(m.TokensPerS*m.Took, m.Took)
	s.ImagesPerS = r.images.add(m.ImagesPerS*m.Took, m.Took)
	if peak := r.options.PeakFlops; peak > 0 && r.rate.work > 0 {
		s.Peak = known(s.TokensPerS * r.rate.work / peak)
	}
	// The first step compiles and says little of the others. Behind it all counts:
	// validations and checkpoints take time too.
	if r.paceStep == 0 {
		r.paceStart, r.paceStep = time.Now(), m.Step
		return
	}
	perStep := time.Since(r.paceStart).Seconds() / float64(m.Step-r.paceStep)
	s.SecondsLeft, s.DollarsLeft = r.left(perStep * float64(s.Steps-m.Step))
}

// left is a time that is left, and what it costs.
func (r *Run) left(seconds float64) (*float64, *float64) {
	if r.options.PricePerHour == 0 {
		return &seconds, nil
	}
	dollars := seconds / 3600 * r.options.PricePerHour
	return &seconds, &dollars
}

// mean is a rate over the last steps.
type mean struct {
	count, seconds float64 // of what was done, fading
	work           float64 // operations of one
}

// add takes what a step did and how long it took.
func (m *mean) add(count, seconds float64) float64 {
	const keep = 0.95 // some twenty steps
	m.count, m.seconds = keep*m.count+count, keep*m.seconds+seconds
	if m.seconds == 0 {
		return 0
	}
	return m.count / m.seconds
}
