package train

import (
	"image"

	"patchwork/internal/require"
	"patchwork/vlm/internal/vlmtest"

	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/jsonfloat"
)

// logOf is a run's log with a loss for each step.
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

// TestPlotLoss draws runs of every kind. PATCHWORK_PLOTS=DIR keeps the pictures for
// a person to look at.
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
			picture, _, err := image.Decode(f)
			require.NoError(t, err)
			blue := 0
			for y := range picture.Bounds().Dy() {
				for x := range picture.Bounds().Dx() {
					if r, g, b, _ := picture.At(x, y).RGBA(); r>>8 == uint32(plotBlue.R) && g>>8 == uint32(plotBlue.G) && b>>8 == uint32(plotBlue.B) {
						blue++
					}
				}
			}
			// The key alone has 30·3 of them.
			if !c.drawn || blue < 100 {
				t.Errorf("drawn, with %d pixels of the curve", blue)
			}
		})
	}
}

// TestPlotFails: a picture that cannot be drawn ends no run, and is said once.
func TestPlotFails(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 4)
	r.ValEvery = 2
	out := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.MkdirAll(filepath.Join(out, "loss.png", "folder"), 0o755))
	said := 0
	_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{Warn: func(s string) {
		if strings.Contains(s, "loss.png cannot be drawn") {
			said++
		}
	}})
	require.NoError(t, err)
	if said != 1 {
		t.Errorf("said %d times", said)
	}
	left, err := filepath.Glob(filepath.Join(out, "*.tmp"))
	require.NoError(t, err)
	if len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
}
