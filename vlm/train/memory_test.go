package train

import (
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestReleasesMemory: after training, generation and evaluation all device memory is released and
// all goroutines have ended.
func TestReleasesMemory(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 4)
	r.ValEvery, r.SaveEvery = 2, 2
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			before := runtime.NumGoroutine()
			check := func(what string) {
				t.Helper()
				// GPU backends keep one minimal buffer for absent bindings.
				if now, _ := dev.MemoryInUse(); now > engine.Alignment {
					t.Errorf("%s left %d bytes", what, now)
				}
			}
			var out string
			for range 2 {
				out = filepath.Join(t.TempDir(), "run")
				_, err := trainOn(t, dev, r, files, out, false, Observer{})
				require.NoError(t, err)
				check("training")
			}
			l, err := pretrained.Load(out, dev)
			require.NoError(t, err)
			g := generate.New(l)
			prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color?"}}}, nil)
			require.NoError(t, err)
			_, err = g.Generate(t.Context(), prompt, nil, generate.Options{MaxNewTokens: 3})
			require.NoError(t, err)
			g.Close()
			_, err = eval.Run(t.Context(), l, eval.Options{Data: data.Local(files...), Limit: 3})
			require.NoError(t, err)
			_, _, err = eval.Score(t.Context(), l, prompt.IDs)
			require.NoError(t, err)
			l.Close()
			check("a loaded model")

			for i := 0; runtime.NumGoroutine() > before && i < 100; i++ { // wait for goroutines that are ending
				time.Sleep(10 * time.Millisecond)
			}
			if n := runtime.NumGoroutine(); n > before {
				buf := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
			}
		})
	}
}

// countingDevice is a device that records the names of compiled programs.
type countingDevice struct {
	engine.Device
	programs []string
}

func (c *countingDevice) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	c.programs = append(c.programs, p.Program.Name)
	return c.Device.Compile(p, arena)
}

// TestValidationCompilesOnce: the programs of steps and answers stay compiled between validations.
func TestValidationCompilesOnce(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	count := func(steps int) []string {
		r := testRecipe(t, steps)
		r.ValEvery = 2
		dev := &countingDevice{Device: devices.Open(t)[0]}
		_, err := trainOn(t, dev, r, files, filepath.Join(t.TempDir(), "run"), false, Observer{})
		require.NoError(t, err)
		slices.Sort(dev.programs)
		return dev.programs
	}
	two, six := count(2), count(6)
	if !slices.Equal(two, six) || len(two) < 4 {
		t.Errorf("one validation compiles %v, three %v", two, six)
	}
}

// smallBuffer is far less than the weights or activations of the test model take, and as much as
// its largest tensor.
const smallBuffer = 1 << 20

// TestSmallBuffers trains and generates on devices with small buffers and gets the same bits as
// with large ones. Gradients are not clipped, because the sum of their norm depends on the split
// into buffers.
func TestSmallBuffers(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for _, dev := range devices.Open(t) {
		for _, dtype := range []string{"f32", "bf16"} {
			t.Run(dev.Info().Device+"/"+dtype, func(t *testing.T) {
				r := testRecipe(t, 4)
				r.Clip, r.SaveEvery, r.Accumulate, r.DType = 0, 2, 2, dtype
				large, split := filepath.Join(t.TempDir(), "large"), filepath.Join(t.TempDir(), "split")
				_, err := trainOn(t, dev, r, files, large, false, Observer{})
				require.NoError(t, err)
				small := enginetest.NewSmall(dev, smallBuffer)
				_, err = trainOn(t, small, r, files, split, false, Observer{})
				require.NoError(t, err)
				if *small.Segments < 3 {
					t.Errorf("activations are in %d allocations: the limit has no effect", *small.Segments)
				}
				same(t, "small buffers", losses(t, split), losses(t, large))
				for _, file := range []string{pretrained.WeightsFile, checkpoint.FirstMomentsFile, checkpoint.SecondMomentsFile} {
					sameFile(t, filepath.Join("checkpoints", "step-000002", file), split, large)
				}
				sameFile(t, pretrained.WeightsFile, split, large)
				if got, want := testAnswerIn(t, small, split, r.storage()), testAnswerIn(t, dev, large, r.storage()); got != want {
					t.Errorf("the answer is %q, with large buffers %q", got, want)
				}
			})
		}
	}
}

// TestBufferTooSmall: the error names a tensor that is larger than the largest buffer.
func TestBufferTooSmall(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for limit, want := range map[int64]string{
		128 << 10: "decoder.model.embed_tokens.weight needs 144.0 KiB in one buffer",
		256 << 10: `"logits", in one buffer, need 384.0 KiB`,
	} {
		_, err := trainOn(t, enginetest.NewSmall(cpu.Open(0), limit), testRecipe(t, 2), files, filepath.Join(t.TempDir(), "run"), false, Observer{})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, engine.ErrUnsupported) && !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("buffers of %s: got %v, want an error with %q", engine.Bytes(limit), err, want)
		}
	}
}

// TestSegmentedArena: splitting the activations over several buffers adds at most 1 % of memory,
// and one buffer is used if they fit.
func TestSegmentedArena(t *testing.T) {
	for _, name := range []string{"smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(name)
		require.NoError(t, err)
		m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
		require.NoError(t, err)
		for _, recompute := range []bool{false, true} {
			program, _, err := recordStep(m, m.NewInputs(r.BatchSize, r.SeqLen, 4, r.SeqLen), nn.Options{Train: true, Recompute: recompute})
			require.NoError(t, err)
			arena := func(limit int64) engine.Segments {
				plan, err := engine.NewPlan(program, limit)
				require.NoError(t, err)
				return plan.Arena
			}
			one := arena(0)
			if exact := arena(one.Total()); len(one) != 1 || !slices.Equal(exact, one) {
				t.Errorf("%s: %d if one buffer is enough, want %d", name, exact, one)
			}
			for _, limit := range []int64{4 << 30, 2 << 30, 1 << 30} {
				got := arena(limit)
				if slices.Max(got) > limit || float64(got.Total()) > 1.01*float64(one.Total()) {
					t.Errorf("%s, recompute %v: %d in buffers of %d, in one %d", name, recompute, got, limit, one)
				}
			}
		}
	}
}

// TestNonFinite: NonFinite names the first kernel whose result a NaN weight spoils, and the step
// is skipped.
func TestNonFinite(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 1)
	for _, dev := range devices.Open(t) {
		for _, dtype := range []string{"f32", "bf16"} {
			t.Run(dev.Info().Device+"/"+dtype, func(t *testing.T) {
				r := r
				r.DType = dtype
				dir, out := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "run")
				_, err := trainOn(t, dev, r, files, dir, false, Observer{})
				require.NoError(t, err)
				poison(t, dir)
				var notes []string
				_, err = Run(t.Context(), Options{Recipe: r, Data: data.Local(files...), Out: out, Model: dir, Device: dev,
					Observe: Observer{Note: func(s string) { notes = append(notes, s) }}})
				var diverged *checkpoint.DivergedError
				if !errors.As(err, &diverged) || Finished(out) || len(checkpoint.Names(filepath.Join(out, "checkpoints"))) != 0 {
					t.Errorf("a run with NaN ended with %v, or left a model", err)
				}
				all := strings.Join(notes, "\n")
				if !strings.Contains(all, "(layers.1, kernel matmul: ") || !strings.Contains(all, "step skipped") {
					t.Errorf("the notes do not name the matmul of the second layer:\n%s", all)
				}
			})
		}
	}
}

// poison sets a weight of the up projection of layer 1 of a saved model to NaN.
func poison(t *testing.T, dir string) {
	t.Helper()
	m, proc, err := pretrained.OpenModel(dir)
	require.NoError(t, err)
	dev := devices.Open(t)[0]
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, pretrained.ReadWeights(m, dev, dir))
	p := m.Params.ByName("decoder.model.layers.1.mlp.up_proj.weight")
	values, err := m.Params.Read(dev, m.Params.Weights, p)
	require.NoError(t, err)
	values[7] = float32(math.NaN())
	require.NoError(t, m.Params.Write(dev, p, values))
	require.NoError(t, pretrained.Save(m, proc, dir, pretrained.ValuesOn(m, dev)))
}
