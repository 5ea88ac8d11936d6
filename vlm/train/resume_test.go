package train

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// TestResumeChanges: a resumed run may change settings that affect neither the model nor the order
// of the data; it notes the changes and records them in run.json.
func TestResumeChanges(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, testRecipe(t, 4)
	r.SaveEvery, r.Optimizer = 1, OptimizerAdamW
	out := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0), Observe: Observer{Step: func(m StepMetrics) {
		if m.Step == 2 {
			cancel()
		}
	}}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	resume := func(r Recipe) (Result, string, error) {
		t.Helper()
		var notes []string
		result, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: out, Resume: true, Device: cpu.Open(0),
			Observe: Observer{Note: func(s string) { notes = append(notes, s) }}})
		return result, strings.Join(notes, "\n"), err
	}
	before, err := os.ReadFile(filepath.Join(out, "run.json"))
	require.NoError(t, err)
	short := r
	short.Steps = 1
	if _, _, err := resume(short); err == nil || !strings.Contains(err.Error(), "--steps 1: ") {
		t.Errorf("fewer steps than were taken: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(out, "run.json"))
	require.NoError(t, err)
	if string(before) != string(after) {
		t.Error("a refused resumption changed run.json")
	}

	r.LR, r.SaveEvery, r.DType, r.Optimizer = r.LR/2, 3, "bf16", OptimizerAdamW8Bit
	result, notes, err := resume(r)
	require.NoError(t, err)
	if !strings.Contains(notes, "from step 3 on: ") || !strings.Contains(notes, "--lr 0.0005 (was 0.001)") || !strings.Contains(notes, "--dtype") || !strings.Contains(notes, `--optimizer "adamw8bit" (was "adamw")`) {
		t.Errorf("the notes do not name the changes: %s", notes)
	}
	if result.Steps != 4 {
		t.Errorf("%d steps, want 4", result.Steps)
	}
	saved, err := readRun(out)
	require.NoError(t, err)
	if len(saved.Changes) != 1 || saved.Changes[0].Step != 2 || string(saved.Changes[0].Settings["lr"][1]) != "0.0005" || saved.Recipe.LR != r.LR {
		text, _ := json.Marshal(saved.Changes)
		t.Errorf("run.json has the changes %s and the rate %v", text, saved.Recipe.LR)
	}

	// A finished run continues if it is given more steps, and stays unchanged otherwise.
	if _, notes, err = resume(r); err != nil || strings.Contains(notes, "not used") {
		t.Errorf("a finished run with its own settings: %v, %s", err, notes)
	}
	other := r
	other.LR, other.Steps = r.LR/2, 1
	if _, notes, err = resume(other); err != nil || !Finished(out) || !strings.Contains(notes, "is finished; the settings given are not used: --lr, --steps") {
		t.Errorf("a finished run with other settings: %v, %s", err, notes)
	}
	r.LR /= 2
	r.Steps = 6
	if result, _, err = resume(r); err != nil || result.Steps != 6 || !Finished(out) {
		t.Errorf("a finished run with more steps: %d, %v", result.Steps, err)
	}
	if n := len(losses(t, out)); n != 6 {
		t.Errorf("metrics.jsonl has %d steps, want 6", n)
	}
}

// TestBiasCorrection: AdamW's bias correction does not count skipped steps, as in PyTorch's
// GradScaler.
func TestBiasCorrection(t *testing.T) {
	tr := &trainer{rates: map[string]nn.Schedule{vlm.GroupEmbedder: {Peak: 1, Steps: 10}, vlm.GroupDecoder: {Peak: 1, Steps: 8}}}
	tr.Recipe.FreezeDecoderSteps = 2
	for step, skipped := range map[int]bool{1: true, 2: false, 3: true, 4: false, 5: true} {
		if skipped {
			tr.countSkipped(step)
		}
	}
	for group, want := range map[string]int{vlm.GroupEmbedder: 6 - 3, vlm.GroupDecoder: 4 - 2} {
		if _, n := tr.rate(group, 6); n != want {
			t.Errorf("%s: step 6 is optimizer step %d, want %d", group, n, want)
		}
	}
}

// TestDivergence: when the weights or gradients become non-finite no checkpoint is saved, the last
// good ones are kept, and the run fails.
func TestDivergence(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 12)
	r.SaveEvery, r.Clip = 1, 0
	r.LR, r.EmbedderLR, r.Warmup = 1e36, 1e36, 3
	out := filepath.Join(t.TempDir(), "run")
	var warnings []string
	_, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0),
		Observe: Observer{Warn: func(s string) { warnings = append(warnings, s) }}})
	var stopped *StoppedError
	if !errors.As(err, &stopped) || Finished(out) {
		t.Fatalf("a run that diverged ended with %v", err)
	}
	if !slices.ContainsFunc(warnings, func(s string) bool { return strings.Contains(s, "no checkpoint is saved") }) {
		t.Errorf("warnings: %q", warnings)
	}
	for _, dir := range checkpoint.Names(filepath.Join(out, "checkpoints")) {
		m, _, err := pretrained.OpenModel(dir)
		require.NoError(t, err)
		dev := cpu.Open(0)
		require.NoError(t, m.Allocate(dev, false))
		require.NoError(t, pretrained.ReadWeights(m, dev, dir))
		for _, p := range m.Params.All() {
			x, err := m.Params.Read(dev, m.Params.Weights, p)
			require.NoError(t, err)
			if !checkpoint.AllFinite(x) {
				t.Fatalf("%s: %s is not finite", dir, p.Name)
			}
		}
	}
}

func TestAllFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		x    []float32
		want bool
	}{{nil, true}, {[]float32{0, -1, math.MaxFloat32, math.SmallestNonzeroFloat32}, true}, {[]float32{1, inf}, false}, {[]float32{-inf}, false}, {[]float32{float32(math.NaN()), 1}, false}} {
		if got := checkpoint.AllFinite(c.x); got != c.want {
			t.Errorf("%v: %v", c.x, got)
		}
	}
}

// TestResumeFormerModeNames resumes a run whose files have the former names of the modes; it
// writes the current names.
func TestResumeFormerModeNames(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	former := strings.NewReplacer(`"causal"`, `"seed"`, `"shared_prefix"`, `"branches"`)
	for _, modes := range []struct {
		attention packing.Attention
		turns     packing.Turns
	}{{packing.Causal, packing.InConversation}, {packing.Document, packing.SharedPrefix}} {
		r, out := testRecipe(t, 2), filepath.Join(t.TempDir(), "run")
		r.Attention, r.Turns = modes.attention, modes.turns
		_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
		require.NoError(t, err)
		replaced := 0
		require.NoError(t, filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "run.json" && d.Name() != "config.json" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			old := former.Replace(string(text))
			if old == string(text) {
				return nil
			}
			replaced++
			require.NoError(t, os.WriteFile(path, []byte(old), 0o644))
			sums, err := os.ReadFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			require.NoError(t, err)
			sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
			return os.WriteFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"), []byte(strings.Replace(string(sums), sum(string(text)), sum(old), 1)), 0o644)
		}))
		if replaced < 2 {
			t.Fatalf("%v: former names in %d files, want them in run.json and config.json", modes, replaced)
		}
		r.Steps = 3
		result, err := trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
		if err != nil || result.Steps != 3 {
			t.Fatalf("%v: %d steps, %v", modes, result.Steps, err)
		}
		for _, name := range []string{"run.json", "config.json"} {
			text, err := os.ReadFile(filepath.Join(out, name))
			require.NoError(t, err)
			if former.Replace(string(text)) == string(text) {
				t.Errorf("%v: %s has the former names", modes, name)
			}
		}
	}
}
