package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/train"
)

// readMetrics reads a run's metrics.jsonl.
func readMetrics(path string) (losses []train.StepMetrics, val []train.ValMetrics, err error) {
	f, err := smallfile.Open(path, smallfile.Log)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			train.StepMetrics
			ValLoss *float64 `json:"val_loss"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if line.ValLoss != nil {
			val = append(val, train.ValMetrics{Step: line.Step, ValLoss: *line.ValLoss})
		} else {
			losses = append(losses, line.StepMetrics)
		}
	}
	return losses, val, lines.Err()
}

// curve is the loss curve as SVG paths in a box of curveW × curveH.
type curve struct {
	W, H       float64
	BoxW, BoxH float64 // with the labels
	Train, Val string
	XTicks     []tick
	YTicks     []tick
	Dots       [][2]float64 // validations
}

type tick struct {
	At    float64
	Label string
}

const (
	curveW, curveH = 640.0, 240.0
	buckets        = 100 // points of the training curve
)

// newCurve draws the losses on a logarithmic axis; a point of the training curve
// is the mean of its bucket of steps.
func newCurve(losses []train.StepMetrics, val []train.ValMetrics) curve {
	c := curve{W: curveW, H: curveH, BoxW: curveW + 60, BoxH: curveH + 34}
	last := float64(losses[len(losses)-1].Step)
	var points [][2]float64
	lo, hi := math.Inf(1), math.Inf(-1)
	each := max(1, len(losses)/buckets)
	for i := 0; i < len(losses); i += each {
		part := losses[i:min(i+each, len(losses))]
		sum := 0.0
		for _, m := range part {
			sum += float64(m.Loss)
		}
		mean := max(sum/float64(len(part)), 1e-6)
		points = append(points, [2]float64{float64(part[len(part)/2].Step), mean})
		lo, hi = min(lo, mean), max(hi, mean)
	}
	for _, m := range val {
		lo = min(lo, max(m.ValLoss, 1e-6))
	}
	low, high := math.Log10(lo)-0.05, math.Log10(hi)+0.05
	x := func(step float64) float64 { return curveW * step / last }
	y := func(loss float64) float64 { return curveH * (high - math.Log10(max(loss, 1e-6))) / (high - low) }
	for i := range points {
		points[i] = [2]float64{x(points[i][0]), y(points[i][1])}
	}
	for _, m := range val {
		c.Dots = append(c.Dots, [2]float64{x(float64(m.Step)), y(m.ValLoss)})
	}
	c.Train, c.Val = path(points), path(c.Dots)
	for decade := math.Pow(10, math.Floor(low)); decade <= hi*10; decade *= 10 {
		for _, v := range []float64{decade, 2 * decade, 5 * decade} {
			if l := math.Log10(v); l >= low && l <= high {
				c.YTicks = append(c.YTicks, tick{y(v), fmt.Sprintf("%g", math.Round(v*1e6)/1e6)})
			}
		}
	}
	step := roundStep(last / 5)
	for s := 0.0; s <= last; s += step {
		c.XTicks = append(c.XTicks, tick{x(s), thousands(int(s))})
	}
	return c
}

// roundStep is 1, 2 or 5 times a power of ten, near v.
func roundStep(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(max(v, 1))))
	for _, f := range []float64{1, 2, 5} {
		if v <= f*decade*1.2 {
			return f * decade
		}
	}
	return 10 * decade
}

func path(points [][2]float64) string {
	var out strings.Builder
	for i, p := range points {
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&out, "%s%.1f %.1f", verb, p[0], p[1])
	}
	return out.String()
}
