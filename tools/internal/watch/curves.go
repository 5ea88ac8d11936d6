package watch

import (
	"strconv"

	"patchwork/vlm/train"
)

// curves are a run's metrics by step.
type curves struct {
	Loss, Smooth, Val            train.Curve
	TokensPerS, LR, Norm, Memory train.Curve
}

func (c *curves) add(m train.StepMetrics, smooth float64) {
	c.Loss.Add(m.Step, float64(m.Loss))
	c.Smooth.Add(m.Step, smooth)
	c.TokensPerS.Add(m.Step, m.TokensPerS)
	c.LR.Add(m.Step, m.LR)
	c.Norm.Add(m.Step, float64(m.GradNorm))
}

// columns is a curve in the page's JSON.
type columns struct {
	Step []int  `json:"step"`
	Mean floats `json:"mean"`
	Min  floats `json:"min,omitempty"` // of the steps of a point, where the page draws a band
	Max  floats `json:"max,omitempty"`
}

// columnsOf copies a curve, with minima and maxima if band is set.
func columnsOf(c train.Curve, band bool) columns {
	out := columns{Step: make([]int, 0, len(c.Points)), Mean: make(floats, 0, len(c.Points))}
	for _, p := range c.Points {
		out.Step, out.Mean = append(out.Step, p.Step), append(out.Mean, p.Mean)
		if band {
			out.Min, out.Max = append(out.Min, p.Min), append(out.Max, p.Max)
		}
	}
	return out
}

// floats are written with the digits that a plot needs.
type floats []float64

// MarshalJSON writes five significant digits of each.
func (f floats) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 10*len(f)+2)
	out = append(out, '[')
	for i, v := range f {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, v, 'g', 5, 64)
	}
	return append(out, ']'), nil
}

// curvesJSON is the response of /api/curves.
type curvesJSON struct {
	Loss       columns `json:"loss"`
	Smooth     columns `json:"smooth"`
	Val        columns `json:"val"`
	TokensPerS columns `json:"tokens_per_s"`
	LR         columns `json:"lr"`
	Norm       columns `json:"grad_norm"`
	Memory     columns `json:"memory_bytes"`
}

func (r *Run) curvesJSON() curvesJSON {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.curves
	return curvesJSON{
		Loss: columnsOf(c.Loss, true), Smooth: columnsOf(c.Smooth, false), Val: columnsOf(c.Val, false),
		TokensPerS: columnsOf(c.TokensPerS, true), LR: columnsOf(c.LR, false), Norm: columnsOf(c.Norm, true), Memory: columnsOf(c.Memory, true),
	}
}

// Recent are the running means of the loss at n evenly spaced points of the run, the
// newest last; fewer in the first steps.
func (r *Run) Recent(n int) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.curves.Smooth.Points
	n = min(n, len(all))
	out := make([]float64, n)
	for i := range out {
		out[i] = all[(i+1)*len(all)/n-1].Mean
	}
	return out
}
