package main

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"patchwork/engine"
	"patchwork/tools/watch"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// trainView shows a run: one live line on a terminal, else a plain line every
// few seconds.
type trainView struct {
	run    *watch.Run
	device engine.Info
	mu     sync.Mutex // for the line: bad rows come from another goroutine than steps
	line   *liveLine
}

func newTrainView(a *app, run *watch.Run, device engine.Info) *trainView {
	return &trainView{run: run, device: device, line: newLiveLine(a)}
}

func (v *trainView) observer() train.Observer {
	return train.Observer{
		Start: func(r train.Info) {
			slog.Info(fmt.Sprintf("%s parameters, %d rows to train on and %d held out, %d steps of %d tokens, %.1f GFLOP a step, on %s (%s)",
				thousands(r.Parameters), r.Rows, r.ValRows, r.Steps, r.TokensPerStep, r.FlopsPerStep/1e9, v.device.Device, v.device.Name))
			if r.Done > 0 {
				slog.Info(fmt.Sprintf("going on after step %d", r.Done))
			}
		},
		Step:       v.step,
		Validation: v.validation,
		BadRow:     func(b data.Verdict) { v.above(func() { warnBadRow(b) }) },
		Note:       func(s string) { v.above(func() { slog.Info(s) }) },
		Warn:       func(s string) { v.above(func() { slog.Warn(s) }) },
	}
}

func (v *trainView) step(m train.StepMetrics) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.run.State(); v.line.due(m.Step == s.Steps) {
		v.line.show(float64(s.Step)/float64(s.Steps), v.fields(s)...)
	}
}

func (v *trainView) above(write func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line.above(write)
}

// sparkCells is how wide the loss is drawn.
const sparkCells = 12

// fields are the line's, in their order, ranked by what a person can do without.
func (v *trainView) fields(s watch.State) []field {
	all := []field{
		{text: fmt.Sprintf("step %d/%d", s.Step, s.Steps), rank: 0},
		{text: "loss " + figure(s.Loss, "%.4f"), rank: 1, color: bold},
		{text: sparkline(v.run.Recent(sparkCells)), rank: 5, color: blue, liveOK: true},
		{text: thousands(int64(s.TokensPerS)) + " tokens/s", rank: 3},
		{text: fmt.Sprintf("%.0f images/s", s.ImagesPerS), rank: 9},
	}
	if s.Peak != nil {
		all = append(all, field{text: fmt.Sprintf("%.1f%% of peak", 100**s.Peak), rank: 7})
	}
	all = append(all, field{text: engine.Bytes(s.Memory), rank: 8})
	if s.BadRows > 0 {
		all = append(all, field{text: fmt.Sprintf("%d bad rows", s.BadRows), rank: 6, color: red})
	}
	left := "?"
	if s.SecondsLeft != nil {
		left = seconds(*s.SecondsLeft)
	}
	if s.DollarsLeft == nil {
		return append(all, field{text: left + " left", rank: 2})
	}
	return append(all, field{text: left, rank: 2}, field{text: fmt.Sprintf("$%.2f left", *s.DollarsLeft), rank: 4})
}

// figure is "?" where the value is not known.
func figure(x *float64, format string) string {
	if x == nil {
		return "?"
	}
	return fmt.Sprintf(format, *x)
}

func (v *trainView) validation(m train.ValMetrics) {
	v.above(func() {
		slog.Info(fmt.Sprintf("validation after step %d: loss %.4f", m.Step, m.ValLoss))
		for _, s := range m.Samples {
			slog.Info(fmt.Sprintf("  %s → %s (%s)", shorten(s.Question, 60), shorten(s.Answer, 60), shorten(s.Truth, 60)))
		}
	})
}

// end leaves the live line behind.
func (v *trainView) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line.end()
}

// shorten makes a line of n characters of a text from anywhere: what would steer
// the terminal is replaced.
func shorten(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(strings.Fields(s), " "))
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
