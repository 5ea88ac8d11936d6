package train

import (
	"math"
	"testing"
)

// TestCurve holds a thinned curve to the figures that it stands for.
func TestCurve(t *testing.T) {
	value := func(step int) float64 { return 3/math.Sqrt(float64(step)) + 0.1*math.Sin(float64(step)) }
	for _, c := range []struct {
		name         string
		from, steps  int
		least, every int // points; every so many steps a NaN
	}{
		{"none", 1, 0, 0, 0},
		{"one", 1, 1, 1, 0},
		{"as they are", 1, 500, 500, 0},
		{"full", 1, curvePoints, curvePoints, 0},
		{"one more", 1, curvePoints + 1, curvePoints / 2, 0},
		{"a long run", 1, 1_000_000, curvePoints / 4, 0},
		{"resumed", 700_001, 300_000, curvePoints / 4, 0},
		{"with gaps", 1, 100_000, curvePoints / 4, 7},
		{"with nothing but gaps", 1, 100, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var curve Curve
			var all []float64 // of the steps that count, by step
			for i := range c.steps {
				v := value(c.from + i)
				if c.every > 0 && i%c.every == 0 {
					v = math.NaN()
				}
				curve.Add(c.from+i, v)
				all = append(all, v)
			}
			if n := len(curve.Points); n > curvePoints || n < c.least {
				t.Fatalf("%d points, want %d to %d", n, c.least, curvePoints)
			}
			next := 0
			for _, p := range curve.Points {
				lowest, highest, sum, count := math.Inf(1), math.Inf(-1), 0.0, 0
				for ; next < len(all) && c.from+next <= p.Step; next++ {
					if v := all[next]; !math.IsNaN(v) {
						lowest, highest, sum, count = min(lowest, v), max(highest, v), sum+v, count+1
					}
				}
				// Means are summed in another order.
				if p.Min != lowest || p.Max != highest || p.Count != count || math.Abs(p.Mean-sum/float64(count)) > 1e-9 {
					t.Fatalf("point at step %d is %+v; its %d steps have %g, %g, %g", p.Step, p, count, lowest, sum/float64(count), highest)
				}
			}
		})
	}
}
