package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"patchwork/internal/durable"
	"patchwork/internal/smallfile"
	"patchwork/vlm/train"
)

// Colours of the systems, in their order.
var colors = []color.RGBA{{37, 99, 184, 255}, {217, 116, 26, 255}, {46, 139, 87, 255}, {178, 58, 72, 255}, {120, 94, 168, 255}}

// points is the number of points of a curve.
const points = 200

// draw writes the mean training loss of the seeds over the work done, a plot for each data set.
func (s *study) draw(path string) error {
	var row []*plot.Plot
	for _, data := range s.data {
		p := train.NewLossPlot(data.name)
		p.X.Label.Text = "training, GFLOP"
		for i, system := range systems {
			line, err := s.curve(data.name, system.name)
			if err != nil {
				return err
			}
			if err := train.AddLine(p, system.name, line, colors[i]); err != nil {
				return err
			}
		}
		p.X.Min = 0
		row = append(row, p)
	}
	const height = 4 * vg.Inch
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(len(row))*5.5*vg.Inch, height), vgimg.UseDPI(120))
	tiles := draw.Tiles{Rows: 1, Cols: len(row), PadX: 24, PadTop: 14, PadBottom: 14, PadLeft: 14, PadRight: 14}
	for i, c := range plot.Align([][]*plot.Plot{row}, tiles, draw.New(canvas))[0] {
		row[i].Draw(c)
	}
	var png bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&png); err != nil {
		return err
	}
	return durable.Replace(path, png.Bytes())
}

// curve is the running mean of a system's training loss, the mean of its seeds.
func (s *study) curve(data, system string) (line plotter.XYs, err error) {
	runs := s.of(data, system)
	for i, r := range runs {
		losses, err := readLosses(r.dir)
		if err != nil {
			return nil, err
		}
		if len(losses) != r.Steps {
			return nil, fmt.Errorf("%s: %d steps in metrics.jsonl, want %d", r.dir, len(losses), r.Steps)
		}
		var smooth train.RunningMean
		every := max(1, r.Steps/points)
		for step, loss := range losses {
			mean := smooth.Add(step+1, loss)
			if (step+1)%every != 0 {
				continue
			}
			if i == 0 {
				line = append(line, plotter.XY{X: float64(step+1) * r.FlopsPerStep / 1e9})
			}
			line[(step+1)/every-1].Y += mean / float64(len(runs))
		}
	}
	return line, nil
}

// of returns a system's runs on a data set.
func (s *study) of(data, system string) (runs []result) {
	for _, r := range s.results {
		if r.Data == data && r.System == system {
			runs = append(runs, r)
		}
	}
	return runs
}

// readLosses reads the training losses of a run.
func readLosses(dir string) (losses []float64, err error) {
	f, err := smallfile.Open(filepath.Join(dir, "metrics.jsonl"), smallfile.Log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Loss *float64 `json:"loss"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if line.Loss != nil {
			losses = append(losses, *line.Loss)
		}
	}
	return losses, lines.Err()
}
