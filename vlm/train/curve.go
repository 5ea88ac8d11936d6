package train

import "math"

// Curve is a figure's course over the steps of a run, thinned as it grows: it holds
// no more than curvePoints points, however long the run is. The zero value is
// empty.
type Curve struct {
	Points []CurvePoint
	stride int // steps of a point
}

// CurvePoint stands for some successive steps.
type CurvePoint struct {
	Step           int // the last of them
	Min, Mean, Max float64
	Count          int
	first          int
}

// curvePoints is more than a picture of a curve shows, with room to grow.
const curvePoints = 2048

// Add appends a step's figure; steps come in their order. What is not finite has no
// place in a picture and is left out.
func (c *Curve) Add(step int, value float64) {
	if !finite(value) {
		return
	}
	c.stride = max(c.stride, 1)
	if n := len(c.Points); n > 0 && step/c.stride == c.Points[n-1].first/c.stride {
		c.Points[n-1].join(CurvePoint{step, value, value, value, 1, step})
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
			kept[n-1].join(p)
		} else {
			kept = append(kept, p)
		}
	}
	c.Points = kept
}

func (p *CurvePoint) join(next CurvePoint) {
	count := p.Count + next.Count
	p.Step, p.Min, p.Max = next.Step, math.Min(p.Min, next.Min), math.Max(p.Max, next.Max)
	p.Mean += (next.Mean - p.Mean) * float64(next.Count) / float64(count)
	p.Count = count
}

// Smooth is the running mean of a figure over the last twentieth of the steps, and
// over 500 at most: it follows a loss that falls fast at first, and is calm later.
// The zero value has seen nothing.
type Smooth struct {
	mean  float64
	count int
}

// Add takes a figure of a step and returns the mean. What is not finite changes
// nothing.
func (s *Smooth) Add(step int, value float64) float64 {
	if finite(value) {
		s.count++
		s.mean += (value - s.mean) / float64(min(s.count, 1+step/20, 500))
	}
	return s.mean
}
