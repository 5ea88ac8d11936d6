package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// savedRecipe is a test recipe that saves after every second step.
func savedRecipe(t testing.TB, steps int) Recipe {
	r := testRecipe(t, steps)
	r.SaveEvery = 2
	return r
}

// messages collects the notes and warnings of a run.
type messages struct{ notes, warnings []string }

func (h *messages) observer() Observer {
	return Observer{
		Note: func(s string) { h.notes = append(h.notes, s) },
		Warn: func(s string) { h.warnings = append(h.warnings, s) },
	}
}

func (h *messages) String() string {
	return strings.Join(append(slices.Clone(h.notes), h.warnings...), "\n")
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	return require.Value(os.ReadFile(filepath.Join(path...)))(t)
}

func sameFile(t *testing.T, name, a, b string) {
	t.Helper()
	if !bytes.Equal(readFile(t, a, name), readFile(t, b, name)) {
		t.Errorf("%s differs between %s and %s", name, a, b)
	}
}

// TestAsyncSave: asynchronous and synchronous saves write the same bytes, and lack of memory for
// asynchronous saves is noted once.
func TestAsyncSave(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, savedRecipe(t, 7)
	r.DType = "f16"
	folders := map[int64]string{}
	for _, free := range []int64{0, 1000, 1 << 40} {
		out := filepath.Join(t.TempDir(), "run")
		folders[free] = filepath.Join(out, "checkpoints", "step-000006")
		freeHostMemory = func() int64 { return free }
		var h messages
		_, err := trainOn(t, cpu.Open(0), r, files, out, false, h.observer())
		freeHostMemory = engine.FreeHostMemory
		require.NoError(t, err)
		want := 1
		if free == 1<<40 {
			want = 0
		}
		if got := strings.Count(h.String(), "saved synchronously"); got != want {
			t.Errorf("with %d bytes free: %d notes of synchronous saves, want %d:\n%s", free, got, want, &h)
		}
	}
	for _, name := range []string{pretrained.WeightsFile, checkpoint.FirstMomentsFile, checkpoint.SecondMomentsFile, "config.json", "tokenizer.json"} {
		sameFile(t, name, folders[0], folders[1<<40])
		sameFile(t, name, folders[0], folders[1000])
	}
}

// TestSaveFailure puts a file in place of the checkpoints folder: the run warns, continues, and
// saves again once the file is gone. If the last save fails, the run fails.
func TestSaveFailure(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, savedRecipe(t, 8)
	for _, async := range []bool{true, false} {
		for _, c := range []struct {
			name            string
			freed           int
			atLeast, atMost int // warnings; an asynchronous save may start after the file is gone
			saved           bool
		}{
			{"for a while", 5, 1, 2, true}, {"to the end", 99, 3, 3, false},
		} {
			t.Run(fmt.Sprintf("%s async %v", c.name, async), func(t *testing.T) {
				freeHostMemory = func() int64 { return map[bool]int64{true: 1 << 40, false: 1}[async] }
				defer func() { freeHostMemory = engine.FreeHostMemory }()
				out := filepath.Join(t.TempDir(), "run")
				dir := filepath.Join(out, "checkpoints")
				var h messages
				o := h.observer()
				o.Step = func(m StepMetrics) {
					switch m.Step {
					case 1:
						require.NoError(t, os.WriteFile(dir, nil, 0o644))
					case c.freed:
						require.NoError(t, os.Remove(dir))
					}
				}
				_, err := trainOn(t, cpu.Open(0), r, files, out, false, o)
				if got := strings.Count(strings.Join(h.warnings, "\n"), "could not be saved"); got < c.atLeast || got > c.atMost {
					t.Errorf("it warns %d times, want %d to %d:\n%s", got, c.atLeast, c.atMost, &h)
				}
				if c.saved {
					require.NoError(t, err)
					if _, err := checkpoint.NewestGood[trainerState](t.Context(), dir); err != nil || !Finished(out) {
						t.Errorf("the run is not finished, or its checkpoint is not good: %v", err)
					}
					return
				}
				var stopped *StoppedError
				var unsaved *SaveError
				if !errors.As(err, &stopped) || !errors.As(err, &unsaved) || Finished(out) {
					t.Fatalf("got %v, want the checkpoint that could not be saved", err)
				}
				require.NoError(t, os.Remove(dir))
				_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
				require.NoError(t, err)
			})
		}
	}
}

// TestValidationInterrupted: a run that failed or was interrupted during a validation, including
// the last one, validates first when it is resumed.
func TestValidationInterrupted(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, savedRecipe(t, 4)
	r.ValEvery = 2
	reference := filepath.Join(t.TempDir(), "reference")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		run  func(out string) error
	}{
		{"failed", func(out string) error {
			oom := &engine.OutOfMemoryError{Device: "test", What: "activations", Asked: 1 << 30}
			dev := &failingDevice{Device: cpu.Open(0), program: "step", left: 3, fault: oom} // after two training steps
			_, err := trainOn(t, dev, r, files, out, false, Observer{})
			var stopped *StoppedError
			if !errors.As(err, &stopped) || stopped.Step != 2 {
				return fmt.Errorf("got %v, want it stopped after two steps", err)
			}
			return nil
		}},
		{"interrupted in the last validation", func(out string) error {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0), Observe: Observer{Step: func(m StepMetrics) {
				if m.Step == r.Steps {
					cancel()
				}
			}}})
			if !errors.Is(err, context.Canceled) || Finished(out) {
				return fmt.Errorf("got %v, want it interrupted", err)
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			require.NoError(t, c.run(out))
			_, err := trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
			require.NoError(t, err)
			if a, b := valLosses(t, reference), valLosses(t, out); a != b {
				t.Errorf("validations are\n%s and\n%s", a, b)
			}
			sameFile(t, pretrained.WeightsFile, reference, out)
		})
	}
}

func valLosses(t testing.TB, out string) string {
	var all []string
	for line := range strings.Lines(string(readFile(t, out, "metrics.jsonl"))) {
		if strings.Contains(line, "val_loss") {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

// TestFinishedRun: resuming a finished run changes nothing, even if its checkpoints are damaged.
func TestFinishedRun(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, savedRecipe(t, 4)
	out := filepath.Join(t.TempDir(), "run")
	first, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
	require.NoError(t, err)
	metrics := readFile(t, out, "metrics.jsonl")
	for _, c := range checkpoint.Names(filepath.Join(out, "checkpoints")) {
		require.NoError(t, os.Truncate(filepath.Join(c, pretrained.WeightsFile), 100))
	}
	again, err := trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	require.NoError(t, err)
	if again.Steps != first.Steps || again.Loss != first.Loss || again.Tokens != first.Tokens {
		t.Errorf("the result is %+v, was %+v", again, first)
	}
	if !bytes.Equal(metrics, readFile(t, out, "metrics.jsonl")) {
		t.Error("metrics.jsonl has changed")
	}
}
