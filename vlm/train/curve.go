package train

import "math"

// Curve is a metric over the steps of a run, downsampled to at most curvePoints points however
// long the run is. The zero value is empty.
type Curve struct {
	Points []CurvePoint
	stride int // steps per point
}

// CurvePoint summarizes consecutive steps.
type CurvePoint struct {
	Step           int // the last step
	Min, Mean, Max float64
	Count          int
	first          int
}

// curvePoints is more than a plot can show.
const curvePoints = 2048

// Add appends the value of a step. Steps must be in ascending order. Non-finite values are
// ignored.
func (c *Curve) Add(step int, value float64) {
	if !finite(value) {
		return
	}
	c.stride = max(c.stride, 1)
	if n := len(c.Points); n > 0 && step/c.stride == c.Points[n-1].first/c.stride {
		c.Points[n-1].merge(CurvePoint{step, value, value, value, 1, step})
		return
	}
	for len(c.Points) == curvePoints {
		c.halve()
	}
	c.Points = append(c.Points, CurvePoint{step, value, value, value, 1, step})
}

// halve doubles the stride.
func (c *Curve) halve() {
	c.stride *= 2
	kept := c.Points[:0]
	for _, p := range c.Points {
		if n := len(kept); n > 0 && p.first/c.stride == kept[n-1].first/c.stride {
			kept[n-1].merge(p)
		} else {
			kept = append(kept, p)
		}
	}
	c.Points = kept
}

func (p *CurvePoint) merge(next CurvePoint) {
	count := p.Count + next.Count
	p.Step, p.Min, p.Max = next.Step, math.Min(p.Min, next.Min), math.Max(p.Max, next.Max)
	p.Mean += (next.Mean - p.Mean) * float64(next.Count) / float64(count)
	p.Count = count
}

// RunningMean is the mean of a metric over about the last twentieth of the steps, at most 500: it
// follows the steep start of a loss curve and is smooth later. The zero value is ready to use.
type RunningMean struct {
	mean  float64
	count int
}

// Add adds the value of a step and returns the mean. Non-finite values are ignored.
func (s *RunningMean) Add(step int, value float64) float64 {
	if finite(value) {
		s.count++
		s.mean += (value - s.mean) / float64(min(s.count, 1+step/20, 500))
	}
	return s.mean
}
