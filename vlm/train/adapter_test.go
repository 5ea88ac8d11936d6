package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// adapterRecipe is testRecipe with an adapter on a base stored as weights.
func adapterRecipe(t *testing.T, steps int, weights pretrained.Weights) Recipe {
	r := testRecipe(t, steps)
	r.Adapter = &vlm.Adapter{Rank: 4, Alpha: 8, Targets: vlm.AdapterTargets}
	r.BaseWeights = weights
	return r
}

// adapterWeights are the bytes of a finished run's adapter.
func adapterWeights(t *testing.T, out string) []byte {
	t.Helper()
	return require.Value(os.ReadFile(filepath.Join(out, adapterFolder, pretrained.AdapterWeightsFile)))(t)
}

// TestAdapter trains an adapter on a decoder in floats and in blocks of 8 and 4 bits, interrupted
// and not: the same bits. The loss falls, the checkpoints have nothing of the base, and the base
// with the adapter, and with it merged, have the same values.
func TestAdapter(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	base := vlmtest.NewTinyDecoder(t, "tiny_qwen3", 300).Folder(t)
	for _, c := range []struct {
		weights   pretrained.Weights
		dtype     string
		freeze    int
		optimizer string
	}{{"f32", "f32", 0, OptimizerAdamW}, {"q8_0", "f32", 3, OptimizerAdamW8Bit}, {"q4_k", "bf16", 0, OptimizerAdamW}} {
		t.Run(string(c.weights)+" "+c.dtype, func(t *testing.T) {
			r := adapterRecipe(t, 10, c.weights)
			r.DType, r.FreezeDecoderSteps, r.Optimizer = c.dtype, c.freeze, c.optimizer
			whole := sameInterrupted(t, 0.9, func(ctx context.Context, out string, resume bool, step func(StepMetrics)) error {
				return trainDecoder(t, ctx, cpu.Open(0), r, files, base, out, resume, step)
			})
			checkAdapterFiles(t, whole)
			compareMerged(t, base, filepath.Join(whole, adapterFolder))
		})
	}
}

// sameInterrupted makes a run, and again with an interruption after step 6: both have the same losses and
// adapter, to the bit, and the loss falls to a part of the first. It returns the folder of the run.
func sameInterrupted(t *testing.T, falls float64, run func(ctx context.Context, out string, resume bool, step func(StepMetrics)) error) (whole string) {
	t.Helper()
	whole, stopped := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "stopped")
	require.NoError(t, run(t.Context(), whole, false, nil))
	ctx, cancel := context.WithCancel(t.Context())
	err := run(ctx, stopped, false, func(m StepMetrics) {
		if m.Step == 6 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	require.NoError(t, run(t.Context(), stopped, true, nil))
	same(t, "an interrupted run and an uninterrupted one", losses(t, whole), losses(t, stopped))
	if !bytes.Equal(adapterWeights(t, whole), adapterWeights(t, stopped)) {
		t.Error("the adapters differ")
	}
	if l := losses(t, whole); l[len(l)-1] > falls*l[0] {
		t.Errorf("the loss fell from %g to %g only", l[0], l[len(l)-1])
	}
	return whole
}

// checkAdapterFiles checks the names in a run's adapter and checkpoints.
func checkAdapterFiles(t *testing.T, out string) {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(out, adapterFolder, pretrained.AdapterWeightsFile))
	require.NoError(t, err)
	defer f.Close()
	for _, name := range []string{
		"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight",
		"base_model.model.embedder.fc.weight", "base_model.model.connector.bias",
	} {
		if !slices.Contains(f.Names(), name) {
			t.Errorf("the adapter has no %s", name)
		}
	}
	var peft struct {
		PEFTType      string   `json:"peft_type"`
		R             int      `json:"r"`
		Alpha         float64  `json:"lora_alpha"`
		Targets       []string `json:"target_modules"`
		ModulesToSave []string `json:"modules_to_save"`
	}
	require.NoError(t, json.Unmarshal(require.Value(os.ReadFile(filepath.Join(out, adapterFolder, "adapter_config.json")))(t), &peft))
	if peft.PEFTType != "LORA" || peft.R != 4 || peft.Alpha != 8 || len(peft.Targets) != 7 || !slices.Equal(peft.ModulesToSave, []string{"embedder", "connector"}) {
		t.Errorf("adapter_config.json: %+v", peft)
	}
	names := checkpoint.Names(filepath.Join(out, "checkpoints"))
	saved, err := safetensors.Open(filepath.Join(out, "checkpoints", filepath.Base(names[0]), pretrained.WeightsFile))
	require.NoError(t, err)
	defer saved.Close()
	for _, name := range saved.Names() {
		if strings.HasPrefix(name, vlm.DecoderPrefix) && !strings.Contains(name, ".lora_") {
			t.Errorf("a checkpoint has %s, which is the base's", name)
		}
	}
	if _, err := pretrained.Load(filepath.Join(out, "checkpoints", filepath.Base(names[0])), cpu.Open(0)); err == nil || !strings.Contains(err.Error(), "only an adapter's weights") {
		t.Errorf("a checkpoint loaded as a model: %v", err)
	}
}

// compareMerged compares the scores of a text by a base with an adapter and by the merged model.
func compareMerged(t *testing.T, base, adapter string) {
	t.Helper()
	merged := filepath.Join(t.TempDir(), "merged")
	_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: base, Adapter: adapter, Out: merged, DType: "f32"})
	require.NoError(t, err)
	with, err := pretrained.LoadWith(base, cpu.Open(0), pretrained.LoadOptions{Adapter: adapter})
	require.NoError(t, err)
	defer with.Close()
	one, err := pretrained.Load(merged, cpu.Open(0))
	require.NoError(t, err)
	defer one.Close()
	ids := vlmtest.PlainIDs(one.Processor.Tokenizer, "what color is the shape? the circle is blue.")
	a, _, err := eval.Score(t.Context(), with, ids)
	require.NoError(t, err)
	b, _, err := eval.Score(t.Context(), one, ids)
	require.NoError(t, err)
	for i := range a {
		if d := a[i] - b[i]; d > 1e-4 || d < -1e-4 {
			t.Fatalf("token %d has %g nats with the adapter and %g merged", i, a[i], b[i])
		}
	}
}

// TestAdapterOnModel: an adapter on a trained model starts from its embedder; ranks train the same
// as one process.
func TestAdapterOnModel(t *testing.T) {
	files := []string{vlmtest.Data(t, 60)}
	model := filepath.Join(t.TempDir(), "model")
	_, err := trainOn(t, cpu.Open(0), testRecipe(t, 5), files, model, false, Observer{})
	require.NoError(t, err)
	r := adapterRecipe(t, 6, "f32")
	r.SeqLen = 160
	o := Options{Recipe: r, Data: data.Local(files...), Out: filepath.Join(t.TempDir(), "one"), Model: model}
	o.Recipe.BatchSize, o.Recipe.Accumulate = 2, 2
	trainRanks(t, 1, o)
	want := losses(t, o.Out)
	o.Out, o.Recipe.Accumulate = filepath.Join(t.TempDir(), "two"), 1
	trainRanks(t, 2, o)
	closeLosses(t, "two ranks", losses(t, o.Out), want)
	with, err := pretrained.LoadWith(model, cpu.Open(0), pretrained.LoadOptions{Adapter: filepath.Join(o.Out, adapterFolder)})
	require.NoError(t, err)
	with.Close()
}

// TestAdapterErrors: adapters that do not fit, and runs without a base, are errors of one line.
func TestAdapterErrors(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	r := adapterRecipe(t, 2, "f32")
	if _, err := trainOn(t, cpu.Open(0), r, files, filepath.Join(t.TempDir(), "x"), false, Observer{}); err == nil || !strings.Contains(err.Error(), "name it with --model") {
		t.Errorf("no base: %v", err)
	}
	base, out := vlmtest.NewTinyDecoder(t, "tiny_llama", 300).Folder(t), filepath.Join(t.TempDir(), "run")
	require.NoError(t, trainDecoder(t, t.Context(), cpu.Open(0), r, files, base, out, false, nil))
	adapter := filepath.Join(out, adapterFolder)
	load := func(base, adapter, want string) {
		t.Helper()
		l, err := pretrained.LoadWith(base, cpu.Open(0), pretrained.LoadOptions{Adapter: adapter})
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	load(vlmtest.NewTinyDecoder(t, "tiny_qwen3", 300).Folder(t), adapter, "is for another model")
	load(base, base, "is not the folder of an adapter")
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.CopyFS(broken, os.DirFS(adapter)))
	weights := filepath.Join(broken, pretrained.AdapterWeightsFile)
	require.NoError(t, os.WriteFile(weights, adapterWeights(t, out)[:5000], 0o644))
	load(base, broken, pretrained.AdapterWeightsFile)
	wrong := r
	wrong.Adapter = &vlm.Adapter{Rank: 0, Alpha: 1, Targets: vlm.AdapterTargets}
	if err := wrong.Check(); err == nil || !strings.Contains(err.Error(), "the rank is 0") {
		t.Errorf("rank 0: %v", err)
	}
	wrong.Adapter, wrong.BaseWeights = nil, "q8_0"
	if err := wrong.Check(); err == nil || !strings.Contains(err.Error(), "--lora-rank") {
		t.Errorf("--weights without an adapter: %v", err)
	}
}
