package train

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// gemmaData writes rows of a picture, a clip and a question about both; every fifth has no picture.
func gemmaData(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.CreateWithSound(path)
	require.NoError(t, err)
	for i := range n {
		color, hertz := vlmtest.Colors[i%3], 500+4000*float64(i%2)
		r := data.Row{
			Images: [][]byte{vlmtest.Image(t, color.RGB, 4+i%17, 3+i%13, 20+i%11)}, Clips: [][]byte{vlmtest.Tone(hertz, 100+i)},
			Turns: []data.Turn{{User: "what?", Assistant: color.Name + []string{" low", " high"}[i%2]}},
		}
		if i%5 == 4 {
			r.Images, r.Turns[0].Assistant = nil, []string{"low", "high"}[i%2]
		}
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return path
}

// gemmaRecipe trains an adapter of the tiny Gemma 4 of a folder.
func gemmaRecipe(t *testing.T, folder string) Recipe {
	t.Helper()
	r, err := Preset("shapes")
	require.NoError(t, err)
	r.Steps, r.SeqLen, r.BatchSize, r.PoolSize, r.Warmup, r.ValEvery, r.SaveEvery = 10, 128, 2, 8, 2, 0, 4
	r.LR, r.EmbedderLR, r.Turns, r.Optimizer = 0.01, 0.001, packing.InConversation, OptimizerAdamW
	r.Adapter, r.BaseWeights = &vlm.Adapter{Rank: 2, Alpha: 4, Targets: vlm.AdapterTargets}, "auto"
	r, err = r.WithModel(folder, ModelOptions{ImageTokens: 9})
	require.NoError(t, err)
	require.NoError(t, r.Check())
	return r
}

// TestGemmaAdapter trains adapters of the tiny Gemma 4 on pictures and sound, interrupted and not: the
// same bits, also from llama.cpp's two files. The loss falls, every adapter and every part of the embedders has changed, and the merged
// model has the predictions of the base with the adapter.
func TestGemmaAdapter(t *testing.T) {
	tiny, file := vlmtest.NewTinyGemma(t, "config.json"), gemmaData(t, 40)
	folder := tiny.Folder(t)
	r := gemmaRecipe(t, folder)
	if r.Attention != packing.DocumentBidirectionalImage || r.Vision.MaxPatches != 9 {
		t.Errorf("attention %s, %d tokens an image", r.Attention, r.Vision.MaxPatches)
	}
	whole := sameInterrupted(t, 0.8, func(ctx context.Context, out string, resume bool, step func(StepMetrics)) error {
		_, err := Run(ctx, Options{Recipe: r, Data: data.Local(file), Out: out, Model: folder, Resume: resume, Device: cpu.Open(0), Observe: Observer{Step: step}})
		return err
	})
	split := filepath.Join(t.TempDir(), "split")
	text := filepath.Join(t.TempDir(), "text.gguf")
	require.Value(pretrained.Export(t.Context(), pretrained.ExportOptions{Model: folder, Out: text, Quantize: "f32", DecoderOnly: true}))(t)
	_, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(file), Out: split, Model: text, MMProj: tiny.MMProj(t), Device: cpu.Open(0)})
	require.NoError(t, err)
	same(t, "a folder and llama.cpp's two files", losses(t, whole), losses(t, split))
	checkGemmaAdapter(t, whole)
	compareMerged(t, folder, filepath.Join(whole, adapterFolder))
	checkGemmaEmbedders(t, folder, filepath.Join(whole, adapterFolder))
}

// checkGemmaAdapter checks that every adapter of a run has changed: those of 6 layers, of which 2 have no
// v_proj.
func checkGemmaAdapter(t *testing.T, out string) {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(out, adapterFolder, pretrained.AdapterWeightsFile))
	require.NoError(t, err)
	defer f.Close()
	adapters := 0
	for _, name := range f.Names() {
		if !strings.HasSuffix(name, "lora_B.weight") {
			continue
		}
		adapters++
		if values := require.Value(f.Float32(name))(t); !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s is as it began", name)
		}
	}
	if want := 6*7 - 2; adapters != want {
		t.Errorf("%d adapters, want %d", adapters, want)
	}
}

// checkGemmaEmbedders checks that training has changed the embedders, which the merged model has too.
func checkGemmaEmbedders(t *testing.T, base, adapter string) {
	t.Helper()
	merged := filepath.Join(t.TempDir(), "merged")
	require.Value(pretrained.Export(t.Context(), pretrained.ExportOptions{Model: base, Adapter: adapter, Out: merged, DType: "f32"}))(t)
	before, err := safetensors.Open(filepath.Join(base, pretrained.WeightsFile))
	require.NoError(t, err)
	defer before.Close()
	after, err := safetensors.Open(filepath.Join(merged, pretrained.WeightsFile))
	require.NoError(t, err)
	defer after.Close()
	for _, name := range before.Names() {
		embedder := !strings.Contains(name, "language_model")
		frozen := strings.HasSuffix(name, "norm.weight") || strings.HasSuffix(name, "layer_scalar") || strings.HasSuffix(name, "embed_tokens.weight")
		changed := !slices.Equal(require.Value(before.Float32(name))(t), require.Value(after.Float32(name))(t))
		if embedder && !changed || !embedder && changed == frozen {
			t.Errorf("%s: changed is %v", name, changed)
		}
	}
}

// TestGemmaTraining: full training of the tiny Gemma 4 from its folder writes a model that becomes such a
// folder again.
func TestGemmaTraining(t *testing.T) {
	folder, file := vlmtest.NewTinyGemma(t, "config.transformers.json").Folder(t), gemmaData(t, 40)
	r := gemmaRecipe(t, folder)
	r.Adapter, r.BaseWeights, r.LR, r.SaveEvery = nil, "", 0.001, 0
	out, back := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "back")
	_, err := Run(t.Context(), Options{Recipe: r, Data: data.Local(file), Out: out, Model: folder, Device: cpu.Open(0)})
	require.NoError(t, err)
	if l := losses(t, out); l[9] > 0.8*l[0] {
		t.Errorf("the losses are %g", l)
	}
	require.Value(pretrained.Export(t.Context(), pretrained.ExportOptions{Model: out, Out: back, DType: "f32"}))(t)
	a, b := require.Value(pretrained.Load(out, cpu.Open(0)))(t), require.Value(pretrained.Load(back, cpu.Open(0)))(t)
	defer a.Close()
	defer b.Close()
	if a.Config.Vision != b.Config.Vision || a.Config.Audio != b.Config.Audio || a.Config.Attention != b.Config.Attention {
		t.Errorf("%+v and %+v", a.Config, b.Config)
	}
	for _, p := range a.Params.All() {
		x, y := require.Value(a.Params.Read(a.Device, a.Params.Weights, p))(t), require.Value(b.Params.Read(b.Device, b.Params.Weights, b.Params.ByName(p.Name)))(t)
		if !slices.Equal(x, y) {
			t.Errorf("%s differs", p.Name)
		}
	}
}
