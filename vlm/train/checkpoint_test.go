package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/require"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/loader"
	"patchwork/vlm/pretrained"
)

// TestCheckSums: any change to a file of a checkpoint is detected, and the error names the file.
func TestCheckSums(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), savedRecipe(t, 2), []string{vlmtest.Data(t, 20)}, out, false, Observer{})
	require.NoError(t, err)
	reference := filepath.Join(out, "checkpoints", "step-000002")
	n, err := checkpoint.CheckSums(t.Context(), reference)
	if entries := require.Value(os.ReadDir(reference))(t); err != nil || n != len(entries)-1 {
		t.Fatalf("%d of %d files are checked: %v", n, len(entries), err)
	}
	sums := string(readFile(t, reference, checkpoint.SumsFile))
	lines := strings.SplitAfter(sums, "\n")
	rewrite := func(text string) func(string) error {
		return func(dir string) error {
			return os.WriteFile(filepath.Join(dir, checkpoint.SumsFile), []byte(text), 0o644)
		}
	}
	for _, c := range []struct {
		name, file, reason string
		do                 func(dir string) error
	}{
		{"missing file", checkpoint.FirstMomentsFile, "missing", func(dir string) error { return os.Remove(filepath.Join(dir, checkpoint.FirstMomentsFile)) }},
		{"truncated file", checkpoint.SecondMomentsFile, "does not match", func(dir string) error { return os.Truncate(filepath.Join(dir, checkpoint.SecondMomentsFile), 5000) }},
		{"modified file", "config.json", "does not match", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "config.json"), append(readFile(t, dir, "config.json"), ' '), 0o644)
		}},
		{"no sums", checkpoint.SumsFile, "missing", func(dir string) error { return os.Remove(filepath.Join(dir, checkpoint.SumsFile)) }},
		{"empty sums", checkpoint.SumsFile, "does not list", rewrite("")},
		{"sums truncated within a line", checkpoint.SumsFile, "line 2", rewrite(lines[0] + lines[1][:70])},
		{"sums truncated between lines", checkpoint.SumsFile, "does not list", rewrite(lines[0] + lines[1])},
		{"sum of a file outside the folder", checkpoint.SumsFile, "line 1", rewrite(strings.Replace(sums, "config.json", "../config.json", 1))},
		{"wrong sum", "config.json", "does not match", rewrite(strings.Repeat("0", 64) + sums[64:])},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "step-000002")
			require.NoError(t, os.CopyFS(dir, os.DirFS(reference)))
			require.NoError(t, c.do(dir))
			err := checkpoint.Check(t.Context(), dir, &checkpoint.Header{})
			var damaged *checkpoint.DamageError
			if !errors.As(err, &damaged) || damaged.File != filepath.Join(dir, c.file) || !strings.Contains(damaged.Reason, c.reason) {
				t.Errorf("got %v, want %s of %s", err, c.reason, c.file)
			}
		})
	}
}

// TestCheckpointFormats resumes from a checkpoint of format 0, which had no sums, and rejects one
// of a newer format.
func TestCheckpointFormats(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, savedRecipe(t, 4)
	reference, out := filepath.Join(t.TempDir(), "reference"), filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	setFormat := func(format int) {
		require.NoError(t, os.RemoveAll(out))
		require.NoError(t, os.CopyFS(out, os.DirFS(reference)))
		require.NoError(t, os.Remove(filepath.Join(out, pretrained.WeightsFile)))
		require.NoError(t, os.RemoveAll(filepath.Join(out, "checkpoints", "step-000004")))
		dir := filepath.Join(out, "checkpoints", "step-000002")
		var s trainerState
		require.NoError(t, checkpoint.ReadState(dir, &s))
		s.Format = format
		require.NoError(t, os.Remove(filepath.Join(dir, checkpoint.SumsFile)))
		require.NoError(t, pretrained.WriteJSON(filepath.Join(dir, checkpoint.StateFile), s))
	}
	setFormat(0)
	var h messages
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, h.observer())
	require.NoError(t, err)
	if !strings.Contains(h.String(), "older format") {
		t.Errorf("no note about the format of the checkpoint:\n%s", &h)
	}
	sameFile(t, pretrained.WeightsFile, reference, out)
	setFormat(checkpoint.Format + 1)
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	if err == nil || !strings.Contains(err.Error(), "is of format") || len(checkpoint.Names(filepath.Join(out, "checkpoints"))) != 1 {
		t.Errorf("got %v, want the format refused", err)
	}
}

// TestPrune keeps the newest checkpoints and the best.
func TestPrune(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		name  string
		val   []jsonfloat.Float // validation loss after step 1, 2, …; none: no validation yet
		keep  int
		extra string // another folder
		want  string
	}{
		{"newest", []jsonfloat.Float{none, none, none}, 2, "", "step-000002 step-000003"},
		{"one", []jsonfloat.Float{none, none, none}, 1, "", "step-000003"},
		{"fewer than keep", []jsonfloat.Float{none}, 5, "", "step-000001"},
		{"best is old", []jsonfloat.Float{3, 1, 2, 2}, 1, "", "step-000002 step-000004"},
		{"best is new", []jsonfloat.Float{3, 2, 2, 1}, 2, "", "step-000003 step-000004"},
		{"the first of equal losses", []jsonfloat.Float{3, 1, 1, 1, 2}, 1, "", "step-000002 step-000005"},
		{"leftovers", []jsonfloat.Float{none}, 1, ".writing-123", "step-000001"},
		{"partly removed", []jsonfloat.Float{none}, 1, ".old-step-000000", "step-000001"},
		{"a broken one saved again", []jsonfloat.Float{none, none}, 2, "broken-step-000002", "step-000001 step-000002"},
		{"a broken one of a later step", []jsonfloat.Float{none, none}, 2, "broken-step-000004", "broken-step-000004 step-000001 step-000002"},
		{"another folder", []jsonfloat.Float{none, none}, 1, "step-by-step", "step-000002 step-by-step"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, loss := range c.val {
				s := checkpoint.Header{Step: i + 1, ValLoss: loss, ValStep: i + 1}
				if loss == none {
					s.ValStep = 0
				}
				path := filepath.Join(dir, fmt.Sprintf("step-%06d", s.Step))
				require.NoError(t, os.Mkdir(path, 0o755))
				require.NoError(t, pretrained.WriteJSON(filepath.Join(path, checkpoint.StateFile), s))
			}
			require.NoError(t, os.MkdirAll(filepath.Join(dir, c.extra, "inner"), 0o755))
			if c.extra == "" {
				require.NoError(t, os.Remove(filepath.Join(dir, "inner")))
			}
			require.NoError(t, checkpoint.Prune(dir, c.keep))
			var left []string
			for _, e := range require.Value(os.ReadDir(dir))(t) {
				left = append(left, e.Name())
			}
			if got := strings.Join(left, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestStoppedError: the error names the newest checkpoint, whatever the name of the folder, and
// reports a folder that cannot be read.
func TestStoppedError(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		make      func(dir string) error
		newest    string
		want      string
	}{
		{"none yet", "run", func(string) error { return nil }, "", "no checkpoint was saved yet"},
		{"some", "run", steps, "step-000012", "the newest checkpoint is"},
		{"folder name with glob characters", "run[1]*?", steps, "step-000012", "the newest checkpoint is"},
		{"unreadable", "run", func(dir string) error { return os.WriteFile(dir, nil, 0o644) }, "", "cannot be listed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), c.dir)
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			run := &trainer{saver: &saver{dir: dir}}
			err := run.stopped(errors.New("cause"))
			var stopped *StoppedError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), c.want) || stopped.Checkpoint != "" && filepath.Base(stopped.Checkpoint) != c.newest || (stopped.Checkpoint == "") != (c.newest == "") {
				t.Errorf("got %v", err)
			}
			if _, err := checkpoint.NewestGood[checkpoint.Header](t.Context(), dir); (err == nil) != (c.want == "no checkpoint was saved yet") {
				t.Errorf("resuming: %v", err) // fails if the folders are empty or the path is a file
			}
		})
	}
}

func steps(dir string) error {
	var err error
	for _, name := range []string{"step-000003", "step-000012", "broken-step-000020", ".writing-step-000030", "step-x"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	return err
}

// BenchmarkCheckpoint measures the cost of a checkpoint relative to training steps of the same
// run: how long training waits for an asynchronous and a synchronous save, and by how much steps
// slow down during an asynchronous save.
func BenchmarkCheckpoint(b *testing.B) {
	for _, c := range []struct {
		preset        string
		rows, seqLen  int
		between, warm int // steps after each checkpoint, and before the first
	}{
		{"shapes", 0, 0, 12, 3},
		{"smollm2-135m", 1, 320, 4, 1},
	} {
		b.Run(c.preset, func(b *testing.B) {
			r, err := Preset("shapes")
			require.NoError(b, err)
			decoder, err := Preset(c.preset)
			require.NoError(b, err)
			r = r.withText(*decoder.Text) // random weights, with the tokenizer of shapes
			if c.rows > 0 {
				r.BatchSize, r.SeqLen = c.rows, c.seqLen
			}
			t := &trainer{Options: Options{Recipe: r, Data: data.Local(vlmtest.Data(b, 200)), Out: filepath.Join(b.TempDir(), "run"), Device: cpu.Open(0), Keep: 1}, stats: data.NewRowStats(nil)}
			t.lock, err = lockRun(t.Out)
			require.NoError(b, err)
			defer t.lock.release()
			require.NoError(b, t.open(b.Context()))
			defer t.close()
			defer func() { freeHostMemory = engine.FreeHostMemory }()
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			loaded := t.train.Steps(ctx, loader.Cursor{})
			step := func() time.Duration {
				start := time.Now()
				require.Value(t.step(ctx, loaded))(b)
				return time.Since(start)
			}
			save := func(free int64) time.Duration {
				freeHostMemory = func() int64 { return free }
				t.saver.mode = saveAuto
				start := time.Now()
				require.NoError(b, t.save())
				return time.Since(start)
			}
			for range c.warm {
				step()
			}
			save(1 << 50) // the first save allocates the snapshot
			require.NoError(b, t.saver.wait().err)
			var alone, disturbed, stall, syncSave, writing time.Duration
			steps, slowed := 0, 0
			for b.Loop() {
				for range c.between {
					alone += step()
					steps++
				}
				stall += save(1 << 50)
				start := time.Now()
				for len(t.saver.writing) == 0 {
					disturbed += step()
					slowed++
				}
				writing += time.Since(start)
				require.NoError(b, t.saver.wait().err)
				step()
				syncSave += save(1)
			}
			mean := float64(alone) / float64(steps)
			per := func(d time.Duration) float64 { return float64(d) / float64(b.N) }
			b.ReportMetric(mean/1e6, "step-ms")
			b.ReportMetric(per(stall)/1e6, "stall-ms")
			b.ReportMetric(per(stall)/mean, "stall/step")
			b.ReportMetric(per(syncSave)/mean, "sync/step")
			b.ReportMetric(per(writing)/1e6, "writing-ms")
			b.ReportMetric((float64(disturbed)/mean-float64(slowed))/float64(b.N), "slowed/step")
		})
	}
}
