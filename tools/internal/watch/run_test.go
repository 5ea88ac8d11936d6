package watch

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/vlm/data"
	pixels "patchwork/vlm/image"
	"patchwork/vlm/train"
)

// step is step n of a run with 0.1 s a step.
func step(n int) train.StepMetrics {
	return train.StepMetrics{
		Step: n, Tokens: int64(1000 * n), Loss: jsonfloat.Float(3 / math.Sqrt(float64(n))), GradNorm: 1, LR: 1e-3,
		TokensPerS: 10_000, ImagesPerS: 40, Seconds: 0.1 * float64(n), StepSeconds: 0.1, Memory: 64 << 20, MemoryPeak: 96 << 20,
	}
}

// red is an image of 8×8 pixels.
func red() []byte {
	var out []byte
	for range 64 {
		out = append(out, 200, 30, 30)
	}
	return out
}

// hostile is text that a page must escape.
const hostile = `<script>document.title='stolen'</script><img src=x onerror="document.title='stolen'">`

// begin is a run of 200 steps after its first n steps, with a validation and bad rows.
func begin(n int) (*Run, train.Observer) {
	r := New(Options{
		Name: "runs/shapes", Preset: "shapes", Version: "test", Device: engine.Info{Device: "cpu", Name: "a CPU", Memory: 1 << 30},
		PeakFlops: 1e12, PricePerHour: 3600,
	})
	o := r.Observer()
	o.Start(train.Info{Steps: 200, Parameters: 500_000, TokensPerStep: 1000, FlopsPerStep: 1e9, Rows: 900, ValRows: 100})
	for i := 1; i <= n; i++ {
		o.Step(step(i))
	}
	o.BadRow(data.Verdict{File: "a.parquet", Row: 7, Reason: "image 1 cannot be decoded: " + hostile})
	o.BadRow(data.Verdict{File: "a.parquet", Row: 9, Reason: "image 1 cannot be decoded: not an image"})
	o.BadRow(data.Verdict{File: "a.parquet", Row: 11, Reason: "no turn has an answer"})
	o.Validation(train.ValMetrics{Step: n, ValLoss: 0.5, Samples: []train.Sample{
		{Question: "what color? " + hostile, Truth: "red", Answer: "red", Images: []*pixels.RGB{{W: 8, H: 8, Pix: red()}}},
		{Question: "what shape?", Truth: "square", Answer: hostile, Images: []*pixels.RGB{{W: 8, H: 8, Pix: red()}}},
	}})
	o.Note("a note: " + hostile)
	o.Checkpoint(train.CheckpointEvent{Step: n})
	o.Checkpoint(train.CheckpointEvent{Step: n, Err: errors.New("no space left on device")})
	return r, o
}

// TestRanks: the state, the page's JSON and the metrics have the tokens a second of every rank.
func TestRanks(t *testing.T) {
	r, o := begin(1)
	if s := r.State(); len(s.RankTokensPerS) != 0 {
		t.Errorf("a run of one process has ranks: %v", s.RankTokensPerS)
	}
	for i := 2; i <= 4; i++ {
		m := step(i)
		m.RankTokensPerS = []float64{6000, 4000}
		o.Step(m)
	}
	if s := r.State(); len(s.RankTokensPerS) != 2 || math.Abs(s.RankTokensPerS[0]-6000) > 1e-6 || math.Abs(s.RankTokensPerS[1]-4000) > 1e-6 {
		t.Errorf("the ranks' tokens a second are %v, want 6000 and 4000", s.RankTokensPerS)
	}
	for path, want := range map[string]string{"/metrics": `vlmtool_train_rank_tokens_per_second{rank="1"} 4000`, "/api/run": `"rank_tokens_per_s":[6000,4000]`} {
		if _, body := get(t, r.handler(), path); !strings.Contains(string(body), want) {
			t.Errorf("%s lacks %s:\n%s", path, want, body)
		}
	}
}

// TestState checks the values of State.
func TestState(t *testing.T) {
	r, o := begin(100)
	s := r.State()
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got-want) > 1e-6*want {
			t.Errorf("%s is %v, want %g", what, got, want)
		}
	}
	near("tokens/s", &s.TokensPerS, 10_000)
	near("images/s", &s.ImagesPerS, 40)
	near("the fraction of peak", s.Peak, 10_000*1e6/1e12) // a token is 1e6 operations
	near("validation loss", s.ValLoss, 0.5)
	if s.BadRows != 3 || s.Step != 100 || s.Memory != 64<<20 || s.Phase != Training {
		t.Errorf("%+v", s)
	}
	// At a dollar a second; the price of an hour divided by 3600 rounds.
	if s.SecondsLeft == nil || *s.SecondsLeft <= 0 {
		t.Fatalf("no estimate of the seconds left: %+v", s)
	}
	near("dollars left", s.DollarsLeft, *s.SecondsLeft)
	// A loss that is not finite is not in the mean.
	before := *s.Loss
	bad := step(101)
	bad.Loss, bad.GradNorm, bad.Skipped = jsonfloat.Float(math.NaN()), jsonfloat.Float(math.Inf(1)), 1
	o.Step(bad)
	if s = r.State(); *s.Loss != before || s.GradNorm != nil || s.Skipped != 1 {
		t.Errorf("after a skipped step: %+v", s)
	}
	if got := r.Recent(5); len(got) != 5 || got[0] <= got[4] || got[4] != before {
		t.Errorf("the last running means are %v", got)
	}
	reasons := r.sortedReasons()
	if len(reasons) != 2 || reasons[0].Count != 2 || reasons[0].Reason != "image 1 cannot be decoded" {
		t.Errorf("reasons: %+v", reasons)
	}
	r.End(Finished)
	if s = r.State(); s.Phase != Finished || *s.SecondsLeft != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// TestResumed: curves begin at the start of the run, rates and remaining time at the
// resumed step.
func TestResumed(t *testing.T) {
	r, now := New(Options{}), time.Unix(1, 0)
	r.now = func() time.Time { return now }
	o := r.Observer()
	var earlier []train.StepMetrics
	for i := 1; i <= 50; i++ {
		earlier = append(earlier, step(i))
	}
	o.Start(train.Info{Done: 50, Steps: 60, Earlier: earlier, EarlierVal: []train.ValMetrics{
		{Step: 10, ValLoss: 1}, // written by a version without samples
		{Step: 30, ValLoss: 0.8, Samples: []train.Sample{{Row: 9, Question: "why?", Answer: "so", Images: []*pixels.RGB{{W: 8, H: 8, Pix: red()}}}}},
		{Step: 50, ValLoss: 0.7, Samples: []train.Sample{{Row: 9, Question: "who?", Answer: "you", Images: []*pixels.RGB{{W: 8, H: 8, Pix: red()}}}, {Row: 10, Question: "where?"}}},
	}})
	if got := r.validations; len(got) != 2 || got[0].Step != 30 || got[1].Samples[0].Question != "who?" || len(got[1].Samples) != 2 || len(r.images.data) != 1 ||
		got[0].Samples[0].Images[0] != got[1].Samples[0].Images[0] {
		t.Errorf("samples of earlier validations: %+v", got)
	}
	if s := r.State(); s.Step != 50 || s.TokensPerS != 0 || s.SecondsLeft != nil || *s.ValLoss != 0.7 {
		t.Errorf("before its first step: %+v", s)
	}
	o.Step(step(51))
	if s := r.State(); s.SecondsLeft != nil {
		t.Errorf("%g s left after a step that compiled", *s.SecondsLeft)
	}
	now = now.Add(10 * time.Millisecond)
	o.Step(step(52))
	if s := r.State(); s.SecondsLeft == nil || math.Abs(*s.SecondsLeft-0.08) > 1e-9 {
		t.Errorf("left %v, want 0.08 s: 8 steps of 10 ms", s.SecondsLeft)
	}
	if c := r.curvesJSON(); len(c.Loss.Step) != 52 || c.Loss.Step[0] != 1 || len(c.Val.Step) != 3 {
		t.Errorf("%d points of loss, %d of validation", len(c.Loss.Step), len(c.Val.Step))
	}
}

// TestBounds: the memory of a long run is bounded.
func TestBounds(t *testing.T) {
	r, o := begin(1)
	for i := range 300 {
		o.Note(fmt.Sprint("note ", i))
		o.BadRow(data.Verdict{Reason: fmt.Sprint("reason ", i)})
		img := red()
		img[0], img[1] = byte(i), byte(i>>8)
		o.Validation(train.ValMetrics{Step: i, Samples: []train.Sample{{Images: []*pixels.RGB{{W: 8, H: 8, Pix: img}}}}})
	}
	if len(r.events) > keepEvents || len(r.reasons) > keepReasons+1 || len(r.validations) > keepValidations || len(r.images.data) > keepImages {
		t.Errorf("%d events, %d reasons, %d validations, %d images", len(r.events), len(r.reasons), len(r.validations), len(r.images.data))
	}
	last := r.validations[len(r.validations)-1].Samples[0].Images[0]
	if r.images.data[last] == nil {
		t.Error("the newest image is gone")
	}
	if e := r.events[len(r.events)-1]; e.Text != "note 299" {
		t.Errorf("the newest event is %q", e.Text)
	}
}

// BenchmarkStep is the cost of a step.
func BenchmarkStep(b *testing.B) {
	r := New(Options{PeakFlops: 1e12})
	o := r.Observer()
	o.Start(train.Info{Steps: b.N, TokensPerStep: 1000, FlopsPerStep: 1e9})
	for i := range b.N {
		o.Step(step(i + 1))
	}
}
