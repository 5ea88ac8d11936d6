package train

import (
	"strings"
	"testing"

	"patchwork/internal/jsonfloat"
)

// TestWarnOverfit: a validation loss that rises while the training loss falls is said,
// once on the way and at the end.
func TestWarnOverfit(t *testing.T) {
	steps := func(losses ...float64) []StepMetrics {
		var out []StepMetrics
		for i, loss := range losses {
			for k := range 10 {
				out = append(out, StepMetrics{Step: 10*i + k + 1, Loss: jsonfloat.Float(loss)})
			}
		}
		return out
	}
	for _, c := range []struct {
		name  string
		train []float64 // means of ten steps
		val   []float64 // after each ten steps
		epoch int
		want  string // in the warning of the last validation; "" = none
	}{
		{"both fall", []float64{3, 2, 1}, []float64{3, 2, 1.1}, 5, ""},
		{"validation rises", []float64{3, 1, 0.2}, []float64{2, 1, 1.5}, 5, "It was best after step 20, 1.000"},
		{"both rise", []float64{1, 1, 5}, []float64{2, 1, 5}, 1, ""},
		{"a little noise", []float64{3, 1, 0.9}, []float64{2, 1, 1.05}, 1, ""},
		{"one validation, far off, after many passes", []float64{3, 0.1, 0.0001}, []float64{0.889}, 50, "the validation loss is 0.889, the training loss 0.050, in pass 51 over 54 rows"},
		{"one validation, far off, in the first pass", []float64{3, 0.1, 0.0001}, []float64{0.889}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			tr := &trainer{metrics: &metricsLog{train: steps(c.train...)}, saver: &saver{dir: t.TempDir()}, train: &Loader{rows: make([]int, 54)}, steps: 10 * len(c.train)}
			tr.Observe.Warn = func(s string) { said = append(said, s) }
			tr.state.Cursor.Epoch = c.epoch
			for i, loss := range c.val {
				step := 10 * (i + 1 + len(c.train) - len(c.val))
				tr.metrics.val = append(tr.metrics.val, ValMetrics{Step: step, ValLoss: loss})
				said = nil
				tr.warnOverfit(ValMetrics{Step: step, ValLoss: loss})
			}
			all := strings.Join(said, "\n")
			if (all == "") != (c.want == "") || !strings.Contains(all, c.want) {
				t.Errorf("said %q, want %q", all, c.want)
			}
		})
	}
}
