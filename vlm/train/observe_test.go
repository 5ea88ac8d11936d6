package train

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/loader"
)

// TestMultiObserver: all observers get every event in order, and nil functions are skipped.
func TestMultiObserver(t *testing.T) {
	var events []string
	record := func(name string) Observer {
		return Observer{
			Start: func(Info) { events = append(events, name+" start") }, Step: func(StepMetrics) { events = append(events, name+" step") },
			Validation: func(ValMetrics) { events = append(events, name+" validation") }, BadRow: func(data.Verdict) { events = append(events, name+" row") },
			Note: func(string) { events = append(events, name+" note") }, Checkpoint: func(CheckpointEvent) { events = append(events, name+" checkpoint") },
		}
	}
	all := MultiObserver(record("a"), Observer{}, record("b"))
	all.Start(Info{})
	all.Step(StepMetrics{})
	all.Validation(ValMetrics{})
	all.BadRow(data.Verdict{})
	all.Note("")
	all.Checkpoint(CheckpointEvent{})
	var want []string
	for _, event := range []string{"start", "step", "validation", "row", "note", "checkpoint"} {
		want = append(want, "a "+event, "b "+event)
	}
	if !slices.Equal(events, want) {
		t.Errorf("events are %v, want %v", events, want)
	}
}

// TestObserverEvents checks the events of a run.
func TestObserverEvents(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 6)
	r.ValEvery, r.SaveEvery = 3, 3
	out := filepath.Join(t.TempDir(), "run")
	var info Info
	var steps []StepMetrics
	var samples []Sample
	var saved []int
	observe := Observer{
		Start: func(i Info) { info = i }, Step: func(m StepMetrics) { steps = append(steps, m) },
		Validation: func(m ValMetrics) { samples = append(samples, m.Samples...) }, Checkpoint: func(e CheckpointEvent) { saved = append(saved, e.Step) },
	}
	_, err := trainOn(t, cpu.Open(0), r, files, out, false, observe)
	require.NoError(t, err)
	if len(info.Earlier)+len(info.EarlierVal) != 0 || len(steps) != 6 {
		t.Errorf("%d earlier steps, %d taken", len(info.Earlier), len(steps))
	}
	var took float64
	for _, m := range steps {
		took += m.StepSeconds
		if m.StepSeconds <= 0 || m.Memory <= 0 || m.MemoryPeak < m.Memory || m.Skipped != 0 {
			t.Errorf("step %d: %+v", m.Step, m)
		}
	}
	// Both are sums of the same durations.
	if last := steps[5].Seconds; took < 0.999*last || took > 1.001*last {
		t.Errorf("the steps took %g s in total, the run reports %g", took, last)
	}
	if !slices.Equal(saved, []int{3, 6}) {
		t.Errorf("checkpoints of steps %v, want 3 and 6", saved)
	}
	if len(samples) == 0 {
		t.Fatal("no samples")
	}
	for _, s := range samples {
		if s.Question == "" || s.Truth == "" || len(s.Images) != 1 || s.Images[0].W != r.Vision.ImageSize {
			t.Fatalf("%q, %q: %d images", s.Question, s.Truth, len(s.Images))
		}
		encoded, err := s.PNG(0)
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(encoded))
		require.NoError(t, err)
		for _, at := range []int{0, s.Images[0].W*s.Images[0].H - 1} {
			r, g, b, _ := img.At(at%s.Images[0].W, at/s.Images[0].W).RGBA()
			if got := []byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}; !bytes.Equal(got, s.Images[0].Pix[3*at:3*at+3]) {
				t.Errorf("pixel %d is %v, want %v", at, got, s.Images[0].Pix[3*at:3*at+3])
			}
		}
	}
}

// TestResumedSamples: a resumed run reports the samples of earlier validations, with their images.
func TestResumedSamples(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 5)
	r.ValEvery = 2
	out := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var before, after []ValMetrics
	_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0), Observe: Observer{
		Validation: func(m ValMetrics) { before = append(before, m) },
		Step: func(m StepMetrics) {
			if m.Step == 4 {
				cancel()
			}
		},
	}})
	if !errors.Is(err, context.Canceled) || len(before) == 0 {
		t.Fatalf("%d validations, %v", len(before), err)
	}
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{Start: func(i Info) { after = slices.Clone(i.EarlierVal) }})
	require.NoError(t, err)
	if !reflect.DeepEqual(before, after) {
		t.Errorf("reported\n%.300v\nafter resuming, before\n%.300v", after, before)
	}
}

// TestWarnOverfit: a validation loss that rises while the training loss falls is reported once
// during the run and once at its end.
func TestWarnOverfit(t *testing.T) {
	steps := func(losses ...float64) []StepMetrics {
		var out []StepMetrics
		for i, loss := range losses {
			for k := range 10 {
				out = append(out, StepMetrics{Step: 10*i + k + 1, Loss: jsonfloat.Float(loss)})
			}
		}
		return out
	}
	for _, c := range []struct {
		name  string
		train []float64 // means of ten steps
		val   []float64 // after each ten steps
		epoch int
		want  string // in the warning of the last validation; "" = none
	}{
		{"both fall", []float64{3, 2, 1}, []float64{3, 2, 1.1}, 5, ""},
		{"validation rises", []float64{3, 1, 0.2}, []float64{2, 1, 1.5}, 5, "The best was 1.000 after step 20"},
		{"both rise", []float64{1, 1, 5}, []float64{2, 1, 5}, 1, ""},
		{"a little noise", []float64{3, 1, 0.9}, []float64{2, 1, 1.05}, 1, ""},
		{"one validation, large gap, after many epochs", []float64{3, 0.1, 0.0001}, []float64{0.889}, 50, "the validation loss is 0.889, the training loss 0.050, in epoch 51 over 54 rows"},
		{"one validation, large gap, in the first epoch", []float64{3, 0.1, 0.0001}, []float64{0.889}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var warnings []string
			tr := &trainer{metrics: &metricsLog{train: steps(c.train...)}, saver: &saver{dir: t.TempDir()}, train: loader.New(nil, rowsTo(54), &vlm.Processor{}, loader.Config{}, nil), steps: 10 * len(c.train)}
			tr.Observe.Warn = func(s string) { warnings = append(warnings, s) }
			tr.state.Cursor.Epoch = c.epoch
			for i, loss := range c.val {
				step := 10 * (i + 1 + len(c.train) - len(c.val))
				tr.metrics.val = append(tr.metrics.val, ValMetrics{Step: step, ValLoss: loss})
				warnings = nil
				tr.warnOverfit(ValMetrics{Step: step, ValLoss: loss})
			}
			all := strings.Join(warnings, "\n")
			if (all == "") != (c.want == "") || !strings.Contains(all, c.want) {
				t.Errorf("warned %q, want %q", all, c.want)
			}
		})
	}
}
