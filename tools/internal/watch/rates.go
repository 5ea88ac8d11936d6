package watch

import (
	"patchwork/vlm/train"
)

// updateRates updates rates and remaining time. Rates are means over time, not steps.
func (r *Run) updateRates(m train.StepMetrics) {
	s := &r.state
	s.TokensPerS = r.tokenRate.add(m.TokensPerS*m.StepSeconds, m.StepSeconds)
	s.ImagesPerS = r.imageRate.add(m.ImagesPerS*m.StepSeconds, m.StepSeconds)
	if len(r.rankRates) != len(m.RankTokensPerS) {
		r.rankRates = make([]mean, len(m.RankTokensPerS))
	}
	s.RankTokensPerS = make([]float64, len(r.rankRates)) // the old one may be read concurrently
	for i, rate := range m.RankTokensPerS {
		s.RankTokensPerS[i] = r.rankRates[i].add(rate, 1)
	}
	if peak := r.options.PeakFlops; peak > 0 && r.tokenRate.work > 0 {
		s.Peak = finite(s.TokensPerS * r.tokenRate.work / peak)
	}
	// The first step compiles and does not count. After it everything does, validations
	// and checkpoints included.
	if r.firstStep == 0 {
		r.firstTime, r.firstStep = r.now(), m.Step
		return
	}
	perStep := r.now().Sub(r.firstTime).Seconds() / float64(m.Step-r.firstStep)
	s.SecondsLeft, s.DollarsLeft = r.left(perStep * float64(s.Steps-m.Step))
}

// left is the remaining time and its cost.
func (r *Run) left(seconds float64) (*float64, *float64) {
	if r.options.PricePerHour == 0 {
		return &seconds, nil
	}
	dollars := seconds / 3600 * r.options.PricePerHour
	return &seconds, &dollars
}

// mean is a rate of tokens or images over the last steps.
type mean struct {
	count, seconds float64 // decaying sums
	work           float64 // operations per unit
}

// add adds a step's count and its time.
func (m *mean) add(count, seconds float64) float64 {
	const keep = 0.95 // a window of about 20 steps
	m.count, m.seconds = keep*m.count+count, keep*m.seconds+seconds
	if m.seconds == 0 {
		return 0
	}
	return m.count / m.seconds
}
