//go:build !js

package train

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"patchwork/internal/durable"
)

var (
	plotInk    = color.RGBA{60, 66, 74, 255}
	plotGrid   = color.RGBA{228, 228, 226, 255}
	plotPale   = color.RGBA{205, 219, 238, 255}
	plotBlue   = color.RGBA{37, 99, 184, 255}
	plotOrange = color.RGBA{217, 116, 26, 255}
)

// plotLoss draws loss.png: the range of the step losses, their running mean, and the validation
// losses.
func plotLoss(path string, m *metricsLog) (err error) {
	defer func() { // gonum panics on data that it cannot scale
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	var steps, mean Curve
	var smooth RunningMean
	for _, s := range m.train {
		if loss := float64(s.Loss); loss > 0 && finite(loss) { // the axis is logarithmic
			steps.Add(s.Step, loss)
			mean.Add(s.Step, smooth.Add(s.Step, loss))
		}
	}
	if len(mean.Points) == 0 {
		return nil
	}
	last := mean.Points[len(mean.Points)-1]
	p := NewLossPlot(fmt.Sprintf("Loss after step %s: %.4g", stepLabel(float64(last.Step)), last.Mean))
	line := meanLine(mean)
	var val plotter.XYs
	for _, v := range m.val {
		if v.ValLoss > 0 && finite(v.ValLoss) {
			val = append(val, plotter.XY{X: float64(v.Step), Y: v.ValLoss})
		}
	}
	if err := addBand(p, steps); err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		xy    plotter.XYs
		color color.Color
	}{{"training, running mean", line, plotBlue}, {"held-out rows", val, plotOrange}} {
		if err := AddLine(p, c.name, c.xy, c.color); err != nil {
			return err
		}
	}
	setAxes(p, float64(m.train[len(m.train)-1].Step))
	return SavePlot(path, p, 8*vg.Inch, 4.5*vg.Inch, 14)
}

// meanLine returns the curve's means as line points.
func meanLine(c Curve) (xy plotter.XYs) {
	for _, p := range c.Points {
		xy = append(xy, plotter.XY{X: float64(p.Step), Y: p.Mean})
	}
	return xy
}

// addBand fills the area between the minimum and maximum of the points.
func addBand(p *plot.Plot, c Curve) error {
	var upper, lower plotter.XYs
	for _, point := range c.Points {
		upper = append(upper, plotter.XY{X: float64(point.Step), Y: point.Max})
		lower = append(lower, plotter.XY{X: float64(point.Step), Y: point.Min})
	}
	line, err := plotter.NewLine(upper)
	if err != nil {
		return err
	}
	line.Color, line.Width = plotPale, 0.7
	p.Add(line)
	for i := len(lower) - 1; i >= 0; i-- {
		upper = append(upper, lower[i])
	}
	band, err := plotter.NewPolygon(upper)
	if err != nil {
		return err
	}
	band.Color, band.LineStyle.Color, band.LineStyle.Width = plotPale, plotPale, 0.7
	p.Add(band)
	return nil
}

// AddLine draws a line, with markers if it has few points.
func AddLine(p *plot.Plot, name string, xy plotter.XYs, c color.Color) error {
	if len(xy) == 0 {
		return nil
	}
	line, points, err := plotter.NewLinePoints(xy)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, 2
	points.Shape, points.Color, points.Radius = draw.CircleGlyph{}, c, 2.5
	p.Add(line)
	if len(xy) <= 25 {
		p.Add(points)
		p.Legend.Add(name, line, points)
	} else {
		p.Legend.Add(name, line)
	}
	return nil
}

// setAxes sets the ranges of the axes.
func setAxes(p *plot.Plot, steps float64) {
	p.X.Min, p.X.Max = 0, math.Max(steps, 1)
	if p.Y.Max < 1.5*p.Y.Min { // a range with at least one tick
		middle := math.Sqrt(p.Y.Min * p.Y.Max)
		p.Y.Min, p.Y.Max = middle/1.3, middle*1.3
	}
}

// NewLossPlot returns an empty plot of losses over steps with a logarithmic y axis.
func NewLossPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "step", "loss, nats per target token"
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
	p.X.Tick.Marker = stepTicks{}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, lossTicks{}
	p.Legend.Top, p.Legend.XOffs, p.Legend.YOffs = true, -12, -8
	p.Legend.Padding, p.Legend.ThumbnailWidth = 4, 22
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: plotGrid, Width: 0.8}
	grid.Vertical.Width = 0
	p.Add(grid)
	return p
}

// stepTicks places at most six ticks on whole steps.
type stepTicks struct{}

func (stepTicks) Ticks(lo, hi float64) (ticks []plot.Tick) {
	every := 1.0
	for i := 0; (hi-lo)/every > 6; i++ {
		every *= []float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	for v := math.Ceil(lo/every) * every; v <= hi; v += every {
		ticks = append(ticks, plot.Tick{Value: v, Label: stepLabel(v)})
	}
	return ticks
}

// stepLabel writes 20000 as "20,000".
func stepLabel(step float64) string {
	return message.NewPrinter(language.English).Sprintf("%.0f", step)
}

// lossTicks places up to nine ticks on a logarithmic axis, as fine as possible.
type lossTicks struct{}

func (lossTicks) Ticks(lo, hi float64) (ticks []plot.Tick) {
	for _, scale := range []struct {
		decades int // between two ticks
		digits  []float64
	}{{3, []float64{1}}, {1, []float64{1}}, {1, []float64{1, 2, 5}}, {1, []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9}}} {
		var finer []plot.Tick
		for e := int(math.Floor(math.Log10(lo))); e <= int(math.Ceil(math.Log10(hi))); e++ {
			if e%scale.decades != 0 {
				continue
			}
			for _, digit := range scale.digits {
				if v := digit * math.Pow10(e); lo <= v && v <= hi {
					finer = append(finer, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 3, 64)})
				}
			}
		}
		if len(finer) <= 9 {
			ticks = finer
		}
	}
	return ticks
}

// SavePlot atomically writes a plot as a PNG of the given size with a margin.
func SavePlot(path string, p *plot.Plot, width, height, margin vg.Length) error {
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(120))
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	var png bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&png); err != nil {
		return err
	}
	return durable.Replace(path, png.Bytes())
}
