package train

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"patchwork/engine"
	"patchwork/tools/internal/watch"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// progress prints a run's progress: one live line on a terminal, else a plain line every
// few seconds.
type progress struct {
	run    *watch.Run
	device engine.Info
	mu     sync.Mutex // for the line: bad rows are reported by another goroutine than steps
	line   *terminal.Line
}

func newProgress(a *cli.App, run *watch.Run, device engine.Info) *progress {
	return &progress{run: run, device: device, line: terminal.NewLine(a.Stderr, a.Quiet)}
}

func (p *progress) observer() train.Observer {
	return train.Observer{
		Start: func(r train.Info) {
			slog.Info(fmt.Sprintf("%s parameters, %d rows to train on and %d held out, %s%d steps of %d tokens, %.1f GFLOP a step, on %s (%s)",
				terminal.Thousands(r.Parameters), r.Rows, r.ValRows, about(r.StepsEstimated), r.Steps, r.TokensPerStep, r.FlopsPerStep/1e9, p.device.Device, p.device.Name))
			if r.Ranks > 1 {
				slog.Info(fmt.Sprintf("%d ranks train together; a step is of all of them", r.Ranks))
			}
			if r.Done > 0 {
				slog.Info(fmt.Sprintf("resuming after step %d", r.Done))
			}
		},
		Step:       p.step,
		Validation: p.validation,
		BadRow:     func(b data.Verdict) { p.above(func() { WarnBadRow(b) }) },
		Note:       func(s string) { p.above(func() { slog.Info(s) }) },
		Warn:       func(s string) { p.above(func() { slog.Warn(s) }) },
	}
}

func (p *progress) step(m train.StepMetrics) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.run.State(); p.line.Due(m.Step == s.Steps) {
		p.line.Show(float64(s.Step)/float64(s.Steps), p.fields(s)...)
	}
}

// about marks an estimate.
func about(estimated bool) string {
	if estimated {
		return "about "
	}
	return ""
}

func (p *progress) above(write func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.Above(write)
}

// sparkCells is the width of the loss curve.
const sparkCells = 12

// fields are the line's in their order; the ranks put the least important first to be
// dropped.
func (p *progress) fields(s watch.State) []terminal.Field {
	all := []terminal.Field{
		{Text: fmt.Sprintf("step %d/%s%d", s.Step, about(s.Estimated && s.Step < s.Steps), s.Steps), Rank: 0},
		{Text: "loss " + orUnknown(s.Loss, "%.4f"), Rank: 1, Color: terminal.Bold},
		{Text: terminal.Sparkline(p.run.Recent(sparkCells)), Rank: 5, Color: terminal.Blue, LiveOnly: true},
		{Text: terminal.Thousands(int64(s.TokensPerS)) + " tokens/s", Rank: 3},
		{Text: fmt.Sprintf("%.0f images/s", s.ImagesPerS), Rank: 9},
	}
	if n := len(s.RankTokensPerS); n > 0 {
		all = append(all, terminal.Field{Text: rankRates(s.RankTokensPerS), Rank: 10})
	}
	if s.Peak != nil {
		all = append(all, terminal.Field{Text: fmt.Sprintf("%.1f%% of peak", 100**s.Peak), Rank: 7})
	}
	all = append(all, terminal.Field{Text: engine.Bytes(s.Memory), Rank: 8})
	if s.BadRows > 0 {
		all = append(all, terminal.Field{Text: fmt.Sprintf("%d bad rows", s.BadRows), Rank: 6, Color: terminal.Red})
	}
	left := "?"
	if s.SecondsLeft != nil {
		left = terminal.Seconds(*s.SecondsLeft)
	}
	if s.DollarsLeft == nil {
		return append(all, terminal.Field{Text: left + " left", Rank: 2})
	}
	return append(all, terminal.Field{Text: left, Rank: 2}, terminal.Field{Text: fmt.Sprintf("$%.2f left", *s.DollarsLeft), Rank: 4})
}

// shownRanks is the largest number of ranks whose speed the line shows one by one.
const shownRanks = 4

// rankRates shows the tokens a second of every rank, or of the slowest and the fastest.
func rankRates(rates []float64) string {
	if len(rates) > shownRanks {
		slow := slices.Index(rates, slices.Min(rates))
		return fmt.Sprintf("ranks %s (rank %d) to %s", terminal.Thousands(int64(rates[slow])), slow, terminal.Thousands(int64(slices.Max(rates))))
	}
	var texts []string
	for _, rate := range rates {
		texts = append(texts, terminal.Thousands(int64(rate)))
	}
	return "ranks " + strings.Join(texts, " ")
}

// orUnknown formats a value; nil is "?".
func orUnknown(x *float64, format string) string {
	if x == nil {
		return "?"
	}
	return fmt.Sprintf(format, *x)
}

func (p *progress) validation(m train.ValMetrics) {
	p.above(func() {
		slog.Info(fmt.Sprintf("validation after step %d: loss %.4f", m.Step, m.ValLoss))
		for _, s := range m.Samples {
			slog.Info(fmt.Sprintf("  %s → %s (%s)", terminal.Shorten(s.Question, 60), terminal.Shorten(s.Answer, 60), terminal.Shorten(s.Truth, 60)))
		}
	})
}

// end ends the live line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.End()
}
