package train

import (
	"encoding/json"
	"image"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/require"
	"patchwork/vlm/internal/vlmtest"
)

// TestMetricsLog: incomplete lines and lines of steps that are taken again are removed, and lines
// that could not be written are written later.
func TestMetricsLog(t *testing.T) {
	step := func(n int) string {
		return string(require.Value(json.Marshal(StepMetrics{Step: n, Loss: 1}))(t)) + "\n"
	}
	val := `{"step":2,"val_loss":0.5}` + "\n"
	unknown := `{"step":2,"val_loss":null}` + "\n"
	for _, c := range []struct {
		name, was, is string
		train, val    int
	}{
		{"nothing", "", "", 0, 0},
		{"complete", step(1) + step(2) + val, step(1) + step(2) + val, 2, 1},
		{"steps that are taken again", step(1) + step(2) + val + step(3), step(1) + step(2) + val, 2, 1},
		{"a truncated line", step(1) + step(2)[:20], step(1), 1, 0},
		{"a line without a newline", step(1) + strings.TrimSpace(step(2)), step(1), 1, 0},
		{"garbage between lines", step(1) + "\x00\x00\n" + step(2), step(1) + step(2), 2, 0},
		{"a validation loss of null", step(1) + unknown, step(1) + unknown, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(c.was), 0o644))
			m, err := openMetrics(path, 2)
			require.NoError(t, err)
			if len(m.train) != c.train || len(m.val) != c.val {
				t.Errorf("%d steps and %d validations, want %d and %d", len(m.train), len(m.val), c.train, c.val)
			}
			good := m.file
			m.file = require.Value(os.Open(path))(t) // read-only
			if m.step(StepMetrics{Step: 3, Loss: 1}) == nil || m.validation(ValMetrics{Step: 3, ValLoss: 0.25}) == nil {
				t.Error("writing to a read-only file succeeded")
			}
			require.NoError(t, m.file.Close())
			m.file = good
			require.NoError(t, m.step(StepMetrics{Step: 4, Loss: 1}))
			require.NoError(t, m.close())
			if got, want := string(readFile(t, path)), c.is+step(3)+`{"step":3,"val_loss":0.25}`+"\n"+step(4); got != want {
				t.Errorf("the file is\n%swant\n%s", got, want)
			}
		})
	}
}

// TestCurve checks a downsampled curve against all its values.
func TestCurve(t *testing.T) {
	value := func(step int) float64 { return 3/math.Sqrt(float64(step)) + 0.1*math.Sin(float64(step)) }
	for _, c := range []struct {
		name              string
		from, steps       int
		atLeast, nanEvery int // minimum of points; period of NaN values, 0 = none
	}{
		{"none", 1, 0, 0, 0},
		{"one", 1, 1, 1, 0},
		{"not downsampled", 1, 500, 500, 0},
		{"full", 1, curvePoints, curvePoints, 0},
		{"one too many", 1, curvePoints + 1, curvePoints / 2, 0},
		{"a long run", 1, 1_000_000, curvePoints / 4, 0},
		{"resumed", 700_001, 300_000, curvePoints / 4, 0},
		{"with gaps", 1, 100_000, curvePoints / 4, 7},
		{"only NaN", 1, 100, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var curve Curve
			var all []float64 // by step
			for i := range c.steps {
				v := value(c.from + i)
				if c.nanEvery > 0 && i%c.nanEvery == 0 {
					v = math.NaN()
				}
				curve.Add(c.from+i, v)
				all = append(all, v)
			}
			if n := len(curve.Points); n > curvePoints || n < c.atLeast {
				t.Fatalf("%d points, want %d to %d", n, c.atLeast, curvePoints)
			}
			next := 0
			for _, p := range curve.Points {
				lowest, highest, sum, count := math.Inf(1), math.Inf(-1), 0.0, 0
				for ; next < len(all) && c.from+next <= p.Step; next++ {
					if v := all[next]; !math.IsNaN(v) {
						lowest, highest, sum, count = min(lowest, v), max(highest, v), sum+v, count+1
					}
				}
				// The mean is summed in another order.
				if p.Min != lowest || p.Max != highest || p.Count != count || math.Abs(p.Mean-sum/float64(count)) > 1e-9 {
					t.Fatalf("point at step %d is %+v; its %d steps have %g, %g, %g", p.Step, p, count, lowest, sum/float64(count), highest)
				}
			}
		})
	}
}

// logOf makes a log with a loss for each step.
func logOf(steps int, loss func(step int) float64, val ...int) *metricsLog {
	m := &metricsLog{}
	for i := 1; i <= steps; i++ {
		m.train = append(m.train, StepMetrics{Step: i, Loss: jsonfloat.Float(loss(i))})
	}
	for _, step := range val {
		m.val = append(m.val, ValMetrics{Step: step, ValLoss: 1.1 * loss(step)})
	}
	return m
}

// TestPlotLoss draws different runs. PATCHWORK_PLOTS=DIR keeps the images for inspection.
func TestPlotLoss(t *testing.T) {
	falling := func(step int) float64 { return 8/math.Sqrt(float64(step)) + 0.05*math.Sin(float64(7*step)) + 0.1 }
	gap := func(step int) float64 {
		if step == 20 || step > 30 && step < 35 {
			return math.NaN()
		}
		return falling(step)
	}
	for _, c := range []struct {
		name  string
		log   *metricsLog
		drawn bool
	}{
		{"none", logOf(0, falling), false},
		{"one step", logOf(1, falling), true},
		{"one step and a validation", logOf(1, falling, 1), true},
		{"two", logOf(2, falling, 2), true},
		{"constant", logOf(50, func(int) float64 { return 2.5 }, 25, 50), true},
		{"short", logOf(60, falling, 20, 40, 60), true},
		{"with NaN", logOf(60, gap, 20, 40, 60), true},
		{"all NaN", logOf(10, func(int) float64 { return math.NaN() }), false},
		{"infinite", logOf(10, func(step int) float64 { return math.Inf(step % 2) }), false},
		{"zero", logOf(10, func(step int) float64 { return float64(step % 2) }), true},
		{"to nothing", logOf(400, func(step int) float64 { return 10 * math.Exp(-float64(step)/20) }, 200, 400), true},
		{"narrow", logOf(400, func(step int) float64 { return 2.31 + 0.01*math.Sin(float64(step)) }), true},
		{"long", logOf(200_000, falling, 50_000, 100_000, 150_000, 200_000), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := os.Getenv("PATCHWORK_PLOTS")
			if dir == "" {
				dir = t.TempDir()
			}
			path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".png")
			require.NoError(t, plotLoss(path, c.log))
			f, err := os.Open(path)
			if !c.drawn && os.IsNotExist(err) {
				return
			}
			require.NoError(t, err)
			defer f.Close()
			img, _, err := image.Decode(f)
			require.NoError(t, err)
			blue := 0
			for y := range img.Bounds().Dy() {
				for x := range img.Bounds().Dx() {
					if r, g, b, _ := img.At(x, y).RGBA(); r>>8 == uint32(plotBlue.R) && g>>8 == uint32(plotBlue.G) && b>>8 == uint32(plotBlue.B) {
						blue++
					}
				}
			}
			// The legend alone has 30·3 of them.
			if !c.drawn || blue < 100 {
				t.Errorf("drawn, with %d pixels of the curve", blue)
			}
		})
	}
}

// TestPlotFailure: a failure to draw loss.png does not end the run and is reported once.
func TestPlotFailure(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 4)
	r.ValEvery = 2
	out := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.MkdirAll(filepath.Join(out, "loss.png", "folder"), 0o755))
	warned := 0
	_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{Warn: func(s string) {
		if strings.Contains(s, "cannot draw loss.png") {
			warned++
		}
	}})
	require.NoError(t, err)
	if warned != 1 {
		t.Errorf("warned %d times, want 1", warned)
	}
	left, err := filepath.Glob(filepath.Join(out, "*.tmp"))
	require.NoError(t, err)
	if len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
}
