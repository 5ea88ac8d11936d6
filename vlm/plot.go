package vlm

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

var (
	plotInk    = color.RGBA{60, 66, 74, 255}
	plotGrid   = color.RGBA{228, 228, 226, 255}
	plotPale   = color.RGBA{190, 208, 232, 255}
	plotBlue   = color.RGBA{37, 99, 184, 255}
	plotOrange = color.RGBA{217, 116, 26, 255}
)

// plotLoss draws the course of the losses: every step thinly, their running mean,
// and the validations.
func plotLoss(path string, m *metricsLog) error {
	if len(m.train) == 0 {
		return nil
	}
	mean := runningMean(m.train)
	if len(mean) == 0 {
		return nil
	}
	last := mean[len(mean)-1]
	var steps, val plotter.XYs
	for _, s := range m.train {
		if s.Loss > 0 {
			steps = append(steps, plotter.XY{X: float64(s.Step), Y: float64(s.Loss)})
		}
	}
	for _, v := range m.val {
		if v.ValLoss > 0 {
			val = append(val, plotter.XY{X: float64(v.Step), Y: v.ValLoss})
		}
	}
	p := newPlot(fmt.Sprintf("Loss after %.0f steps: %.3f", last.X, last.Y))
	for _, c := range []struct {
		name  string
		xy    plotter.XYs
		color color.Color
		width vg.Length
	}{
		{"", steps, plotPale, 0.7},
		{"training, running mean", mean, plotBlue, 2},
		{"held-out rows", val, plotOrange, 2},
	} {
		if len(c.xy) == 0 {
			continue
		}
		line, err := plotter.NewLine(c.xy)
		if err != nil {
			return err
		}
		line.Color, line.Width = c.color, c.width
		p.Add(line)
		if c.name != "" {
			p.Legend.Add(c.name, line)
		}
	}
	p.X.Min = 0
	return SavePlot(path, p, 8*vg.Inch, 4.5*vg.Inch, 14)
}

// newPlot is an empty plot with a logarithmic axis for the loss.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "step", "nats per target token"
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant, style.Font.Size, style.Color = "Sans", 11, plotInk
	}
	p.Title.TextStyle.Font.Size = font.Length(14)
	p.Title.Padding = 8
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Width, axis.Tick.LineStyle.Width = 0, 0
		axis.Padding = 6
		axis.Label.Padding = 6
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, lossTicks{}
	p.Legend.Top, p.Legend.XOffs, p.Legend.YOffs = true, -12, -8
	p.Legend.Padding, p.Legend.ThumbnailWidth = 4, 22
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: plotGrid, Width: 0.8}
	grid.Vertical.Width = 0
	p.Add(grid)
	return p
}

// lossTicks are labelled 1, 2 and 5 times every power of ten.
type lossTicks struct{}

func (lossTicks) Ticks(lo, hi float64) (ticks []plot.Tick) {
	for decade := math.Pow(10, math.Floor(math.Log10(lo))); decade <= hi; decade *= 10 {
		for _, v := range []float64{decade, 2 * decade, 5 * decade} {
			if lo <= v && v <= hi {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 3, 64)})
			}
		}
	}
	return ticks
}

// SavePlot writes a plot as a PNG of a size with a margin around it, at once.
func SavePlot(path string, p *plot.Plot, width, height, margin vg.Length) error {
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(120))
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(f); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(path+".tmp", path)
}

// runningMean smooths by an exponential mean over some fiftieth of the steps.
func runningMean(steps []StepMetrics) plotter.XYs {
	keep := 1 - 1/math.Max(1, float64(len(steps))/50)
	var out plotter.XYs
	mean, weight := 0.0, 0.0
	for _, s := range steps {
		loss := float64(s.Loss)
		if !finite(loss) {
			continue
		}
		mean, weight = keep*mean+(1-keep)*loss, keep*weight+(1-keep)
		out = append(out, plotter.XY{X: float64(s.Step), Y: math.Max(mean/weight, 1e-9)})
	}
	return out
}
