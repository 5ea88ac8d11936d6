package vlm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
)

// savedRecipe saves after every second step.
func savedRecipe(t testing.TB, steps int) Recipe {
	r := testRecipe(t, steps)
	r.SaveEvery = 2
	return r
}

// heard collects what a run says.
type heard struct{ notes, warnings []string }

func (h *heard) observer() Observer {
	return Observer{
		Note: func(s string) { h.notes = append(h.notes, s) },
		Warn: func(s string) { h.warnings = append(h.warnings, s) },
	}
}

func (h *heard) String() string {
	return strings.Join(append(slices.Clone(h.notes), h.warnings...), "\n")
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	return must1(os.ReadFile(filepath.Join(path...)))(t)
}

func sameFile(t *testing.T, name, a, b string) {
	t.Helper()
	if !bytes.Equal(readFile(t, a, name), readFile(t, b, name)) {
		t.Errorf("%s differs between %s and %s", name, a, b)
	}
}

// TestCheckSums: whatever happens to a file of a checkpoint is noticed, and the file
// is named.
func TestCheckSums(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), savedRecipe(t, 2), []string{testData(t, 20)}, out, false, Observer{})
	must(t, err)
	whole := filepath.Join(out, "checkpoints", "step-000002")
	n, err := CheckSums(whole)
	if entries := must1(os.ReadDir(whole))(t); err != nil || n != len(entries)-1 {
		t.Fatalf("%d of %d files are checked: %v", n, len(entries), err)
	}
	sums := string(readFile(t, whole, sumsFile))
	lines := strings.SplitAfter(sums, "\n")
	rewrite := func(text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, sumsFile), []byte(text), 0o644) }
	}
	for _, c := range []struct {
		name, file, reason string
		do                 func(dir string) error
	}{
		{"a file is removed", momentsFile1, "missing", func(dir string) error { return os.Remove(filepath.Join(dir, momentsFile1)) }},
		{"a file is cut", momentsFile2, "its bytes are not", func(dir string) error { return os.Truncate(filepath.Join(dir, momentsFile2), 5000) }},
		{"a file has another byte", "config.json", "its bytes are not", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "config.json"), append(readFile(t, dir, "config.json"), ' '), 0o644)
		}},
		{"no sums", sumsFile, "missing", func(dir string) error { return os.Remove(filepath.Join(dir, sumsFile)) }},
		{"empty sums", sumsFile, "does not list", rewrite("")},
		{"sums cut in a line", sumsFile, "line 2", rewrite(lines[0] + lines[1][:70])},
		{"sums cut between lines", sumsFile, "does not list", rewrite(lines[0] + lines[1])},
		{"sums of a file elsewhere", sumsFile, "line 1", rewrite(strings.Replace(sums, "config.json", "../config.json", 1))},
		{"another sum", "config.json", "its bytes are not", rewrite(strings.Repeat("0", 64) + sums[64:])},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "step-000002")
			must(t, os.CopyFS(dir, os.DirFS(whole)))
			must(t, c.do(dir))
			_, err := checkCheckpoint(dir)
			var damaged *DamageError
			if !errors.As(err, &damaged) || damaged.File != filepath.Join(dir, c.file) || !strings.Contains(damaged.Reason, c.reason) {
				t.Errorf("got %v, want %s of %s", err, c.reason, c.file)
			}
		})
	}
}

// TestOlderCheckpoint goes on from one of the form before there were sums, and refuses
// one of a form that is not known yet.
func TestOlderCheckpoint(t *testing.T) {
	files, r := []string{testData(t, 20)}, savedRecipe(t, 4)
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, whole, false, Observer{})
	must(t, err)
	reform := func(format int) {
		must(t, os.RemoveAll(out))
		must(t, os.CopyFS(out, os.DirFS(whole)))
		must(t, os.Remove(filepath.Join(out, weightsFile)))
		must(t, os.RemoveAll(filepath.Join(out, "checkpoints", "step-000004")))
		dir := filepath.Join(out, "checkpoints", "step-000002")
		s := must1(readState(dir))(t)
		s.Format = format
		must(t, os.Remove(filepath.Join(dir, sumsFile)))
		must(t, writeJSON(filepath.Join(dir, stateFile), s))
	}
	reform(0)
	var h heard
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, h.observer())
	must(t, err)
	if !strings.Contains(h.String(), "older form") {
		t.Errorf("it says nothing of the checkpoint's form:\n%s", &h)
	}
	sameFile(t, weightsFile, whole, out)
	reform(checkpointFormat + 1)
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	if err == nil || !strings.Contains(err.Error(), "is of format") || len(checkpoints(filepath.Join(out, "checkpoints"))) != 1 {
		t.Errorf("got %v, want the format refused", err)
	}
}

// TestPrune keeps the newest checkpoints and the best.
func TestPrune(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		name  string
		val   []Figure // validation loss after step 1, 2, …; none: there was no validation yet
		keep  int
		extra string // another folder
		want  string
	}{
		{"newest", []Figure{none, none, none}, 2, "", "step-000002 step-000003"},
		{"one", []Figure{none, none, none}, 1, "", "step-000003"},
		{"fewer than are kept", []Figure{none}, 5, "", "step-000001"},
		{"best is old", []Figure{3, 1, 2, 2}, 1, "", "step-000002 step-000004"},
		{"best is new", []Figure{3, 2, 2, 1}, 2, "", "step-000003 step-000004"},
		{"the first of equals", []Figure{3, 1, 1, 1, 2}, 1, "", "step-000002 step-000005"},
		{"leftovers", []Figure{none}, 1, ".writing-123", "step-000001"},
		{"half removed", []Figure{none}, 1, ".old-step-000000", "step-000001"},
		{"a broken one that was saved again", []Figure{none, none}, 2, "broken-step-000002", "step-000001 step-000002"},
		{"a broken one that is still ahead", []Figure{none, none}, 2, "broken-step-000004", "broken-step-000004 step-000001 step-000002"},
		{"what is none of ours", []Figure{none, none}, 1, "step-by-step", "step-000002 step-by-step"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, loss := range c.val {
				s := trainerState{Step: i + 1, ValLoss: loss, ValStep: i + 1}
				if loss == none {
					s.ValStep = 0
				}
				path := filepath.Join(dir, fmt.Sprintf("step-%06d", s.Step))
				must(t, os.Mkdir(path, 0o755))
				must(t, writeJSON(filepath.Join(path, stateFile), s))
			}
			must(t, os.MkdirAll(filepath.Join(dir, c.extra, "inner"), 0o755))
			if c.extra == "" {
				must(t, os.Remove(filepath.Join(dir, "inner")))
			}
			must(t, prune(dir, c.keep))
			var left []string
			for _, e := range must1(os.ReadDir(dir))(t) {
				left = append(left, e.Name())
			}
			if got := strings.Join(left, " "); got != c.want {
				t.Errorf("left are %s, want %s", got, c.want)
			}
		})
	}
}

// TestSavedBeside: a checkpoint from a copy has the bytes of one from the device, and
// a host that has no memory for a copy is said so once.
func TestSavedBeside(t *testing.T) {
	files, r := []string{testData(t, 20)}, savedRecipe(t, 7)
	r.DType = "f16"
	folders := map[int64]string{}
	for _, free := range []int64{0, 1000, 1 << 40} {
		out := filepath.Join(t.TempDir(), "run")
		folders[free] = filepath.Join(out, "checkpoints", "step-000006")
		freeHostMemory = func() int64 { return free }
		var h heard
		_, err := trainOn(t, cpu.Open(0), r, files, out, false, h.observer())
		freeHostMemory = engine.FreeHostMemory
		must(t, err)
		want := 1
		if free == 1<<40 {
			want = 0
		}
		if got := strings.Count(h.String(), "saved in the step"); got != want {
			t.Errorf("with %d bytes free it says %d times that checkpoints are saved in the step, want %d:\n%s", free, got, want, &h)
		}
	}
	for _, name := range []string{weightsFile, momentsFile1, momentsFile2, "config.json", "tokenizer.json"} {
		sameFile(t, name, folders[0], folders[1<<40])
		sameFile(t, name, folders[0], folders[1000])
	}
}

// TestSaveFails puts a file where the checkpoints belong: the run says so, goes on and
// saves as soon as it can; where it cannot at the end, it fails.
func TestSaveFails(t *testing.T) {
	files, r := []string{testData(t, 20)}, savedRecipe(t, 8)
	for _, beside := range []bool{true, false} {
		for _, c := range []struct {
			name          string
			freed, warned int // warned: how often
			saved         bool
		}{
			{"for a while", 5, 2, true}, {"to the end", 99, 3, false},
		} {
			t.Run(fmt.Sprintf("%s beside %v", c.name, beside), func(t *testing.T) {
				freeHostMemory = func() int64 { return map[bool]int64{true: 1 << 40, false: 1}[beside] }
				defer func() { freeHostMemory = engine.FreeHostMemory }()
				out := filepath.Join(t.TempDir(), "run")
				dir := filepath.Join(out, "checkpoints")
				var h heard
				o := h.observer()
				o.Step = func(m StepMetrics) {
					switch m.Step {
					case 1:
						must(t, os.WriteFile(dir, nil, 0o644))
					case c.freed:
						must(t, os.Remove(dir))
					}
				}
				_, err := trainOn(t, cpu.Open(0), r, files, out, false, o)
				if got := strings.Count(strings.Join(h.warnings, "\n"), "could not be saved"); got != c.warned {
					t.Errorf("it warns %d times, want %d:\n%s", got, c.warned, &h)
				}
				if c.saved {
					must(t, err)
					if _, err := newestGood(dir); err != nil || !Finished(out) {
						t.Errorf("the run is not finished, or its checkpoint is not good: %v", err)
					}
					return
				}
				var stopped *StoppedError
				var unsaved *SaveError
				if !errors.As(err, &stopped) || !errors.As(err, &unsaved) || Finished(out) {
					t.Fatalf("got %v, want the checkpoint that could not be saved", err)
				}
				must(t, os.Remove(dir))
				_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
				must(t, err)
			})
		}
	}
}

// TestValidationInterrupted: a run that failed in a validation validates first when it
// goes on.
func TestValidationInterrupted(t *testing.T) {
	files, r := []string{testData(t, 40)}, savedRecipe(t, 4)
	r.ValEvery = 2
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, whole, false, Observer{})
	must(t, err)
	oom := &engine.OutOfMemoryError{Device: "test", What: "activations", Asked: 1 << 30}
	dev := &failing{Device: cpu.Open(0), program: "step", left: 3, fault: oom} // behind two steps of training
	var stopped *StoppedError
	if _, err := trainOn(t, dev, r, files, out, false, Observer{}); !errors.As(err, &stopped) || stopped.Step != 2 {
		t.Fatalf("got %v, want it stopped after two steps", err)
	}
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	must(t, err)
	if a, b := valLosses(t, whole), valLosses(t, out); a != b {
		t.Errorf("validations are\n%s and\n%s", a, b)
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

// TestFinishedRun: to go on with a finished run changes nothing, also where its
// checkpoints are broken.
func TestFinishedRun(t *testing.T) {
	files, r := []string{testData(t, 20)}, savedRecipe(t, 4)
	out := filepath.Join(t.TempDir(), "run")
	first, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
	must(t, err)
	metrics := readFile(t, out, "metrics.jsonl")
	for _, c := range checkpoints(filepath.Join(out, "checkpoints")) {
		must(t, os.Truncate(filepath.Join(c, weightsFile), 100))
	}
	again, err := trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	must(t, err)
	if again.Steps != first.Steps || again.Loss != first.Loss || again.Tokens != first.Tokens {
		t.Errorf("the result is %+v, was %+v", again, first)
	}
	if !bytes.Equal(metrics, readFile(t, out, "metrics.jsonl")) {
		t.Error("metrics.jsonl has changed")
	}
}

// TestMetricsLog: what was torn or belongs to steps that are done again is dropped, and
// lines that could not be written are written later.
func TestMetricsLog(t *testing.T) {
	step := func(n int) string {
		return string(must1(json.Marshal(StepMetrics{Step: n, Loss: 1}))(t)) + "\n"
	}
	val := `{"step":2,"val_loss":0.5}` + "\n"
	unknown := `{"step":2,"val_loss":null}` + "\n"
	for _, c := range []struct {
		name, was, is string
		train, val    int
	}{
		{"nothing", "", "", 0, 0},
		{"whole", step(1) + step(2) + val, step(1) + step(2) + val, 2, 1},
		{"steps that are done again", step(1) + step(2) + val + step(3), step(1) + step(2) + val, 2, 1},
		{"a torn line", step(1) + step(2)[:20], step(1), 1, 0},
		{"a line without its end", step(1) + strings.TrimSpace(step(2)), step(1), 1, 0},
		{"rubbish between", step(1) + "\x00\x00\n" + step(2), step(1) + step(2), 2, 0},
		{"a validation without a number", step(1) + unknown, step(1) + unknown, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			must(t, os.WriteFile(path, []byte(c.was), 0o644))
			m, err := openMetrics(path, 2)
			must(t, err)
			if len(m.train) != c.train || len(m.val) != c.val {
				t.Errorf("%d steps and %d validations, want %d and %d", len(m.train), len(m.val), c.train, c.val)
			}
			good := m.file
			m.file = must1(os.Open(path))(t) // which takes no writing
			if m.step(StepMetrics{Step: 3, Loss: 1}) == nil || m.validation(ValMetrics{3, 0.25}) == nil {
				t.Error("a file that takes no writing was written")
			}
			must(t, m.file.Close())
			m.file = good
			must(t, m.step(StepMetrics{Step: 4, Loss: 1}))
			must(t, m.close())
			if got, want := string(readFile(t, path)), c.is+step(3)+`{"step":3,"val_loss":0.25}`+"\n"+step(4); got != want {
				t.Errorf("the file is\n%swant\n%s", got, want)
			}
		})
	}
}
