package bench

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
	"patchwork/shaders"
	"patchwork/vlm/train"
)

var (
	rooflineInk  = color.RGBA{60, 66, 74, 255}
	rooflineGrid = color.RGBA{232, 232, 230, 255}
	rooflinePale = color.RGBA{150, 176, 214, 255}
	rooflineBlue = color.RGBA{37, 99, 184, 255}
)

// point is a kernel in the plot: the sum of its cases, weighted by their calls.
type point struct {
	kernel    string
	intensity float64 // FLOP per byte
	gflops    float64
}

// points are the kernels that compute, by intensity, and the names of those that only
// move data.
func (r *kernelRun) points() (points []point, movers []string) {
	type sums struct{ flops, bytes, seconds float64 }
	total := map[string]*sums{}
	for _, m := range r.results {
		if m.err != nil || m.Kernel == shaders.PeakFMA {
			continue
		}
		s := total[m.Kernel.Name]
		if s == nil {
			s = &sums{}
			total[m.Kernel.Name] = s
		}
		calls := float64(m.Calls)
		s.flops, s.bytes, s.seconds = s.flops+calls*m.Cost.Flops, s.bytes+calls*m.Cost.Bytes, s.seconds+calls*m.Min.Seconds()
	}
	for name, s := range total {
		if s.flops == 0 || s.bytes == 0 {
			movers = append(movers, name)
			continue
		}
		points = append(points, point{name, s.flops / s.bytes, s.flops / s.seconds / 1e9})
	}
	slices.Sort(movers)
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.intensity, b.intensity), cmp.Compare(a.kernel, b.kernel))
	})
	return points, movers
}

// plotRoofline draws the measured kernels under the device's measured roofs.
func plotRoofline(path string, r *kernelRun) error {
	points, _ := r.points()
	if len(points) == 0 {
		return fmt.Errorf("--plot: the measured kernels only move data")
	}
	roof := r.bench.Roof()
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s  ·  %s", r.info.Device, r.info.Name)
	p.X.Label.Text, p.Y.Label.Text = "FLOP per byte", "GFLOP/s"
	p.Title.TextStyle.Font.Size, p.Title.TextStyle.Color, p.Title.Padding = 15, rooflineInk, 10
	p.Title.TextStyle.Font.Variant = "Sans"
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Scale, axis.Tick.Marker = plot.LogScale{}, decades{}
		axis.LineStyle.Width, axis.Tick.LineStyle.Width, axis.Padding, axis.Label.Padding = 0, 0, 6, 6
		for _, style := range []*draw.TextStyle{&axis.Label.TextStyle, &axis.Tick.Label} {
			style.Font.Variant, style.Font.Size, style.Color = "Sans", 12, rooflineInk
		}
	}
	limits(p, points, roof)
	grid := plotter.NewGrid()
	grid.Horizontal, grid.Vertical = draw.LineStyle{Color: rooflineGrid, Width: 0.8}, draw.LineStyle{Color: rooflineGrid, Width: 0.8}
	p.Add(grid)
	if err := addRoofs(p, roof); err != nil {
		return err
	}
	var xys plotter.XYs
	for _, q := range points {
		xys = append(xys, plotter.XY{X: q.intensity, Y: q.gflops})
	}
	dots, err := plotter.NewScatter(xys)
	if err != nil {
		return err
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: rooflineBlue, Radius: 3.5, Shape: draw.CircleGlyph{}}
	p.Add(names{points}, dots)
	return train.SavePlot(path, p, 9.5*vg.Inch, 6.5*vg.Inch, 16)
}

// limits sets the axes so that every point and the ridge of every roof are inside.
func limits(p *plot.Plot, points []point, roof kernelbench.Roof) {
	p.X.Min, p.X.Max = points[0].intensity/1.6, 2*points[len(points)-1].intensity
	p.Y.Min, p.Y.Max = math.Inf(1), 6*roof.Flops/1e9 // space for the legend
	for _, q := range points {
		p.Y.Min, p.Y.Max = min(p.Y.Min, q.gflops/1.6), max(p.Y.Max, 1.4*q.gflops)
	}
	slowest := roof.Levels[len(roof.Levels)-1].PerSecond
	p.X.Max = max(p.X.Max, 4*roof.Flops/slowest)
}

// addRoofs draws the compute roof and the memory roofs of the largest working set
// and of the best cache.
func addRoofs(p *plot.Plot, roof kernelbench.Roof) error {
	memory, cache := roof.Levels[len(roof.Levels)-1], roof.Levels[0]
	for _, l := range roof.Levels {
		if l.PerSecond > cache.PerSecond {
			cache = l
		}
	}
	for i, l := range []kernelbench.Level{memory, cache} {
		ridge := roof.Flops / l.PerSecond
		start := max(p.X.Min, p.Y.Min*1e9/l.PerSecond)
		xys := plotter.XYs{{X: start, Y: start * l.PerSecond / 1e9}, {X: ridge, Y: roof.Flops / 1e9}}
		if i == 0 {
			xys = append(xys, plotter.XY{X: p.X.Max, Y: roof.Flops / 1e9})
		}
		if start >= ridge {
			continue
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return err
		}
		line.Color, line.Width = rooflineInk, 1.6
		if i == 1 {
			line.Color, line.Width, line.Dashes = rooflinePale, 1.4, []vg.Length{5, 3}
		}
		p.Add(line)
		name := fmt.Sprintf("%.3g GB/s at %s", l.PerSecond/1e9, engine.Bytes(l.Bytes))
		if i == 0 {
			name = fmt.Sprintf("%.4g GFLOP/s, ", roof.Flops/1e9) + name
		}
		p.Legend.Add(name, line)
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding, p.Legend.ThumbnailWidth = 8, -4, 4, 26
	p.Legend.TextStyle = labelStyle(rooflineInk)
	p.Legend.TextStyle.Font.Size = 11
	return nil
}

func labelStyle(ink color.Color) text.Style {
	style := text.Style{Color: ink, Font: plot.DefaultFont, Handler: plot.DefaultTextHandler}
	style.Font.Variant, style.Font.Size = "Sans", 9.5
	return style
}

// names writes the kernel's name beside every point, or further away with a line to it
// where there is no space.
type names struct{ points []point }

func (n names) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := labelStyle(rooflineInk)
	var taken []vg.Rectangle
	for _, q := range n.points {
		at := vg.Point{X: x(q.intensity), Y: y(q.gflops)}
		taken = append(taken, vg.Rectangle{Min: at.Sub(vg.Point{X: 4, Y: 4}), Max: at.Add(vg.Point{X: 4, Y: 4})})
	}
	for _, q := range n.points {
		at := vg.Point{X: x(q.intensity), Y: y(q.gflops)}
		width, height := style.Width(q.kernel), style.Font.Size
		box, distance := place(at, width, height, taken, c.Rectangle)
		taken = append(taken, box)
		if distance > 14 {
			c.StrokeLine2(draw.LineStyle{Color: rooflinePale, Width: 0.6}, at.X, at.Y, (box.Min.X+box.Max.X)/2, (box.Min.Y+box.Max.Y)/2)
		}
		c.SetColor(color.White) // roofs do not cross names
		c.Fill(box.Path())
		c.FillText(style, vg.Point{X: box.Min.X, Y: box.Min.Y + 2}, q.kernel)
	}
}

// place is the box for a name of the given size that is nearest to a point, overlaps
// nothing taken and lies inside, and its distance from the point.
func place(at vg.Point, width, height vg.Length, taken []vg.Rectangle, inside vg.Rectangle) (box vg.Rectangle, distance float64) {
	for distance = 7; distance < 160; distance += 3 {
		for turn := range 24 {
			angle := 2 * math.Pi * float64(turn) / 24
			dx, dy := vg.Length(distance*math.Cos(angle)), vg.Length(distance*math.Sin(angle))
			// The side of the box that faces the point lies at the distance.
			min := vg.Point{X: at.X + dx - width*vg.Length(1-math.Cos(angle))/2, Y: at.Y + dy - height*vg.Length(1-math.Sin(angle))/2}
			box = vg.Rectangle{Min: min, Max: min.Add(vg.Point{X: width, Y: height})}
			if box.Min.X < inside.Min.X || box.Max.X > inside.Max.X || box.Min.Y < inside.Min.Y || box.Max.Y > inside.Max.Y {
				continue
			}
			if !slices.ContainsFunc(taken, func(o vg.Rectangle) bool {
				return box.Min.X < o.Max.X+2 && o.Min.X < box.Max.X+2 && box.Min.Y < o.Max.Y && o.Min.Y < box.Max.Y
			}) {
				return box, distance
			}
		}
	}
	return box, distance
}

// decades are labelled at every power of ten.
type decades struct{}

func (decades) Ticks(lo, hi float64) (ticks []plot.Tick) {
	for v := math.Pow(10, math.Floor(math.Log10(lo))); v <= hi; v *= 10 {
		if v >= lo {
			ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)})
		}
	}
	return ticks
}
