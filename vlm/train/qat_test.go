package train

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// qatRecipe is testRecipe with the last steps rounded to q4_0.
func qatRecipe(t *testing.T, steps, qatSteps int) Recipe {
	r := testRecipe(t, steps)
	r.QAT, r.QATSteps = "q4_0", qatSteps
	return r
}

// roundedCopy are the values of a run's weights as its steps with r.QAT read them.
func roundedCopy(t *testing.T, r Recipe, out string) (m *vlm.Model, values map[string][]float32) {
	t.Helper()
	m, _, err := pretrained.OpenModel(out)
	require.NoError(t, err)
	dev := cpu.Open(0)
	t.Cleanup(func() { m.Close(); dev.Close() })
	require.NoError(t, r.store(m))
	require.NoError(t, m.Params.FakeQuant(r.qatFormat(m)))
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, pretrained.ReadWeights(m, dev, out))
	require.NoError(t, m.Params.SyncHalf(t.Context(), dev))
	values = map[string][]float32{}
	for _, p := range m.Params.All() {
		values[p.Name] = make([]float32, p.Count())
		require.NoError(t, engine.DownloadFloats(dev, m.Params.HalfView(p), values[p.Name]))
	}
	return m, values
}

// TestQATExport: export --quantize of a run with --qat writes the values that the steps read, to the
// bit, and the run saves weights that are not rounded.
func TestQATExport(t *testing.T) {
	r := qatRecipe(t, 4, 2)
	out := filepath.Join(t.TempDir(), "run")
	var notes []string
	_, err := trainOn(t, cpu.Open(0), r, []string{vlmtest.Data(t, 20)}, out, false, Observer{Note: func(s string) { notes = append(notes, s) }})
	require.NoError(t, err)
	if want := "step 3: from here on the decoder's matrices are rounded to q4_0"; !slices.Contains(notes, want) {
		t.Errorf("the notes are %q, want %q", notes, want)
	}
	m, want := roundedCopy(t, r, out)
	file := filepath.Join(t.TempDir(), "m.gguf")
	_, err = pretrained.Export(t.Context(), pretrained.ExportOptions{Model: out, Out: file, Quantize: r.QAT})
	require.NoError(t, err)
	exported, err := pretrained.LoadWith(file, cpu.Open(0), pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
	require.NoError(t, err)
	defer exported.Close()
	matrices := 0
	for _, p := range exported.Params.All() {
		if _, ok := p.Format(); !ok {
			continue
		}
		matrices++
		if got := require.Value(exported.Params.Read(exported.Device, exported.Params.Weights, p))(t); !slices.Equal(got, want[p.Name]) {
			t.Errorf("%s in the file differs from what the steps read", p.Name)
		}
		if slices.Equal(require.Value(pretrained.ValuesOn(m, cpu.Open(0))(m.Params.Weights, m.Params.ByName(p.Name)))(t), want[p.Name]) {
			t.Errorf("%s was saved rounded", p.Name)
		}
	}
	if matrices != 15 { // the embedding, and seven in each of two layers
		t.Errorf("%d matrices are quantised, want 15", matrices)
	}
}

// TestQATValidation: losses and answers of a run with --qat are those of a model with the rounded
// weights.
func TestQATValidation(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	model := filepath.Join(t.TempDir(), "model")
	_, err := trainOn(t, cpu.Open(0), testRecipe(t, 8), files, model, false, Observer{})
	require.NoError(t, err)
	r := qatRecipe(t, 2, 0)
	r.LR, r.EmbedderLR, r.ValEvery = 0, 0, 1
	_, rounded := roundedCopy(t, r, model)
	roundedModel := filepath.Join(t.TempDir(), "rounded")
	m, processor, err := pretrained.OpenModel(model)
	require.NoError(t, err)
	require.NoError(t, pretrained.Save(m, processor, roundedModel, func(_ *engine.Buffer, p *nn.Param) ([]float32, error) { return rounded[p.Name], nil }))
	run := func(model, qat string) (losses []float64, last ValMetrics) {
		r := r
		r.QAT = qat
		_, err := Run(t.Context(), Options{
			Recipe: r, Model: model, Data: data.Local(files...), Out: filepath.Join(t.TempDir(), "run"), Device: cpu.Open(0),
			Observe: Observer{Step: func(m StepMetrics) { losses = append(losses, float64(m.Loss)) }, Validation: func(m ValMetrics) { last = m }},
		})
		require.NoError(t, err)
		return append(losses, last.ValLoss), last
	}
	want, wantVal := run(roundedModel, QATNone)
	got, gotVal := run(model, r.QAT)
	plain, _ := run(model, QATNone)
	if !slices.Equal(got, want) || slices.Equal(got, plain) {
		t.Errorf("losses of steps and validation are %v, want %v; without rounding they are %v", got, want, plain)
	}
	for i, s := range gotVal.Samples {
		if s.Answer != wantVal.Samples[i].Answer {
			t.Errorf("the answer is %q, want %q", s.Answer, wantVal.Samples[i].Answer)
		}
	}
	if len(gotVal.Samples) == 0 {
		t.Error("no question was answered")
	}
}

// TestResumeQAT: an interrupted run, before and after it starts to round, has the bits of one that
// was not.
func TestResumeQAT(t *testing.T) {
	for _, dtype := range []string{"f32", "bf16"} {
		t.Run(dtype, func(t *testing.T) {
			if testing.Short() && dtype != "f32" {
				t.Skip("-short")
			}
			r := qatRecipe(t, 14, 7)
			r.DType = dtype
			testResume(t, r)
		})
	}
}

// TestResumeWithQAT: a run that is resumed with --qat rounds from its first step on.
func TestResumeWithQAT(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, testRecipe(t, 6)
	out, whole := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "whole")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Device: cpu.Open(0), Observe: Observer{Step: func(m StepMetrics) {
		if m.Step == 3 {
			cancel()
		}
	}}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.QAT, r.QATSteps = "q5_1", 3
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	require.NoError(t, err)
	_, err = trainOn(t, cpu.Open(0), r, files, whole, false, Observer{})
	require.NoError(t, err)
	same(t, "rounding after resuming and from the start", losses(t, out), losses(t, whole))
}

// TestRanksQAT: two ranks that each round their weights, with a sharded optimizer and without, have
// the same bits, and the losses of one rank.
func TestRanksQAT(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: TestRanks has the same goroutines")
	}
	files := data.Local(vlmtest.Data(t, 40))
	run := func(ranks, batch int, sharded bool) string {
		r := qatRecipe(t, 8, 5)
		r.SeqLen, r.BatchSize, r.LR, r.EmbedderLR, r.Optimizer = 160, batch, 1e-4, 1e-4, OptimizerAdamW
		out := filepath.Join(t.TempDir(), "run")
		trainRanks(t, ranks, Options{Recipe: r, Data: files, Out: out, ShardOptimizer: sharded})
		return out
	}
	one, whole, sharded := run(1, 2, false), run(2, 1, false), run(2, 1, true)
	if weightsOf(t, whole) != weightsOf(t, sharded) {
		t.Error("a sharded optimizer changes the weights")
	}
	got, want := losses(t, whole), losses(t, one)
	for i := range want {
		// A gradient summed in another order moves a weight across a boundary now and then, a step of the grid.
		if d := got[i] - want[i]; d > 0.01*want[i] || -d > 0.01*want[i] {
			t.Errorf("step %d: the loss of two ranks is %v, of one %v", i+1, got[i], want[i])
		}
	}
}

// TestQATSettings: settings that make no sense together are refused in one line.
func TestQATSettings(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(r *Recipe)
		want string
	}{
		{"a format of 256 values", func(r *Recipe) { r.QAT = "q4_k" }, `--qat is "q4_k", want one of none, q8_0, q4_0, q4_1, q5_0, q5_1: it rounds to blocks of 32 values`},
		{"steps alone", func(r *Recipe) { r.QAT, r.QATSteps = QATNone, 5 }, "--qat-steps says how many steps"},
		{"negative steps", func(r *Recipe) { r.QATSteps = -1 }, "--qat-steps cannot be -1"},
		{"an adapter", func(r *Recipe) {
			r.Adapter, r.BaseWeights = &vlm.Adapter{Rank: 4, Alpha: 8, Targets: vlm.AdapterTargets}, "f32"
		}, "--weights q4_0 trains the adapter"},
		{"a frozen decoder", func(r *Recipe) { r.FreezeDecoderSteps = r.Steps }, "--freeze-decoder-steps 4 keeps them frozen in all 4 steps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := qatRecipe(t, 4, 0)
			c.set(&r)
			if err := r.Check(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	r := qatRecipe(t, 4, 0)
	r.Vision.HiddenSize, r.Text.HiddenSize, r.Text.IntermediateSize, r.Text.HeadDim, r.Text.NumAttentionHeads, r.Text.NumKeyValueHeads = 40, 40, 72, 20, 2, 2
	if _, err := Estimate(r, false); err == nil || !strings.Contains(err.Error(), "rounds none of the decoder's matrices: their rows, of 40 and 72 values") {
		t.Errorf("a model without whole blocks: got %v", err)
	}
}
