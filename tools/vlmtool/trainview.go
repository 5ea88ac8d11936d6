package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/data"
)

// trainView shows a run: one live line on a terminal, else a plain line every
// few seconds.
type trainView struct {
	a      *app
	device engine.Device
	line   *liveLine
	info   vlm.RunInfo
	mean   float64 // of the loss, running
	rate   float64 // tokens/s, running
	images float64 // per second, running
	steps  int     // seen
}

func newTrainView(a *app, dev engine.Device) *trainView {
	return &trainView{a: a, device: dev, line: newLiveLine(a)}
}

func (v *trainView) observer() vlm.Observer {
	device := v.device.Info()
	return vlm.Observer{
		Start: func(r vlm.RunInfo) {
			v.info = r
			slog.Info(fmt.Sprintf("%s parameters, %d rows to train on and %d held out, %d steps of %d tokens, %.1f GFLOP a step, on %s (%s)",
				thousands(r.Parameters), r.Rows, r.ValRows, r.Steps, r.TokensPerStep, r.FlopsPerStep/1e9, device.Device, device.Name))
			if r.Done > 0 {
				slog.Info(fmt.Sprintf("going on after step %d", r.Done))
			}
		},
		Step:       v.step,
		Validation: v.validation,
		BadRow:     func(b data.Verdict) { v.line.above(func() { warnBadRow(b) }) },
		Note:       func(s string) { v.line.above(func() { slog.Info(s) }) },
		Warn:       func(s string) { v.line.above(func() { slog.Warn(s) }) },
	}
}

func (v *trainView) step(m vlm.StepMetrics) {
	v.steps++
	follow(&v.mean, float64(m.Loss), min(v.steps, 30))
	follow(&v.rate, m.TokensPerS, min(v.steps, 20))
	follow(&v.images, m.ImagesPerS, min(v.steps, 20))
	if !v.line.due(m.Step == v.info.Steps) {
		return
	}
	left := "?"
	if done := m.Step - v.info.Done; done > 0 {
		perStep := m.Seconds / float64(m.Step)
		left = seconds(perStep * float64(v.info.Steps-m.Step))
	}
	memory, _ := v.device.MemoryInUse()
	v.line.show(float64(m.Step)/float64(v.info.Steps), fmt.Sprintf("step %d/%d  loss %.4f  %s tokens/s  %.0f images/s  %s  %s left",
		m.Step, v.info.Steps, v.mean, thousands(int64(v.rate)), v.images, engine.Bytes(memory), left))
}

// follow moves a running mean over some n values towards the next one.
func follow(mean *float64, value float64, n int) { *mean += (value - *mean) / float64(n) }

func (v *trainView) validation(m vlm.ValMetrics, samples []vlm.Sample) {
	v.line.above(func() {
		slog.Info(fmt.Sprintf("validation after step %d: loss %.4f", m.Step, m.ValLoss))
		for _, s := range samples {
			slog.Info(fmt.Sprintf("  %s → %s (%s)", shorten(s.Question, 60), shorten(s.Answer, 60), shorten(s.Truth, 60)))
		}
	})
}

// end leaves the live line behind.
func (v *trainView) end() { v.line.end() }

func shorten(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// seconds formats a duration for a person: "2m05s".
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// thousands formats 1234567 as "1,234,567".
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
