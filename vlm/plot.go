package vlm

import (
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plotLoss draws the course of the losses: every step thinly, their running mean,
// and the validations.
func plotLoss(path string, m *metricsLog) error {
	if len(m.train) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Loss after %d steps: %.4f", m.train[len(m.train)-1].Step, runningMean(m.train)[len(m.train)-1].Y)
	p.X.Label.Text = "step"
	p.Y.Label.Text = "nats per target token"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	var steps plotter.XYs
	for _, s := range m.train {
		if s.Loss > 0 {
			steps = append(steps, plotter.XY{X: float64(s.Step), Y: s.Loss})
		}
	}
	add := func(name string, xy plotter.XYs, c color.Color, width vg.Length) error {
		if len(xy) == 0 {
			return nil
		}
		line, err := plotter.NewLine(xy)
		if err != nil {
			return err
		}
		line.Color, line.Width = c, width
		p.Add(line)
		if name != "" {
			p.Legend.Add(name, line)
		}
		return nil
	}
	var val plotter.XYs
	for _, v := range m.val {
		if v.ValLoss > 0 {
			val = append(val, plotter.XY{X: float64(v.Step), Y: v.ValLoss})
		}
	}
	blue, pale, orange := color.RGBA{31, 86, 160, 255}, color.RGBA{185, 205, 230, 255}, color.RGBA{220, 100, 20, 255}
	if err := add("", steps, pale, vg.Points(0.6)); err != nil {
		return err
	}
	if err := add("training (running mean)", runningMean(m.train), blue, vg.Points(1.6)); err != nil {
		return err
	}
	if err := add("validation", val, orange, vg.Points(1.8)); err != nil {
		return err
	}
	p.Legend.Top = true
	p.X.Min = 0
	w, err := p.WriterTo(8*vg.Inch, 4.5*vg.Inch, "png")
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// runningMean smooths by an exponential mean over some fiftieth of the steps.
func runningMean(steps []StepMetrics) plotter.XYs {
	keep := 1 - 1/math.Max(1, float64(len(steps))/50)
	var out plotter.XYs
	mean, weight := 0.0, 0.0
	for _, s := range steps {
		mean, weight = keep*mean+(1-keep)*s.Loss, keep*weight+(1-keep)
		out = append(out, plotter.XY{X: float64(s.Step), Y: math.Max(mean/weight, 1e-9)})
	}
	return out
}
