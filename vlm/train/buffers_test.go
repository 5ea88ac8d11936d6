package train

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// smallBuffer is far less than the weights or the activations of the tests' model
// take, and as much as its largest single tensor does.
const smallBuffer = 1 << 20

// TestSmallBuffers trains and answers on devices that only make small buffers: to the
// last bit as in large ones. The gradients are not clipped, since their norm is added
// up buffer by buffer and may differ in its last digit.
func TestSmallBuffers(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for _, dev := range devices.Open(t) {
		for _, dtype := range []string{"f32", "bf16"} {
			t.Run(dev.Info().Device+"/"+dtype, func(t *testing.T) {
				r := testRecipe(t, 4)
				r.Clip, r.SaveEvery, r.Accumulate, r.DType = 0, 2, 2, dtype
				whole, cut := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "cut")
				_, err := trainOn(t, dev, r, files, whole, false, Observer{})
				require.NoError(t, err)
				small := enginetest.NewSmall(dev, smallBuffer)
				_, err = trainOn(t, small, r, files, cut, false, Observer{})
				require.NoError(t, err)
				if *small.Segments < 3 {
					t.Errorf("activations lie in %d memories: the limit does not bind", *small.Segments)
				}
				same(t, "small buffers", losses(t, cut), losses(t, whole))
				for _, file := range []string{pretrained.WeightsFile, checkpoint.FirstMomentsFile, checkpoint.SecondMomentsFile} {
					sameFile(t, filepath.Join("checkpoints", "step-000002", file), cut, whole)
				}
				sameFile(t, pretrained.WeightsFile, cut, whole)
				if got, want := testAnswerIn(t, small, cut, r.storage()), testAnswerIn(t, dev, whole, r.storage()); got != want {
					t.Errorf("the answer is %q, with large buffers %q", got, want)
				}
			})
		}
	}
}

// TestBufferTooSmall: what has no room in any one buffer is named, with a way out.
func TestBufferTooSmall(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for most, want := range map[int64]string{
		128 << 10: "decoder.model.embed_tokens.weight needs 144.0 KiB in one buffer",
		256 << 10: `"logits", in one buffer, need 384.0 KiB`,
	} {
		_, err := trainOn(t, enginetest.NewSmall(cpu.Open(0), most), testRecipe(t, 2), files, filepath.Join(t.TempDir(), "run"), false, Observer{})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, engine.ErrUnsupported) && !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("buffers of %s: got %v, want an error with %q", engine.Bytes(most), err, want)
		}
	}
}

// TestSegmentedArena: dividing a step's activations into the buffers that devices
// make takes no more memory worth speaking of, and none where one buffer is enough.
func TestSegmentedArena(t *testing.T) {
	for _, name := range []string{"smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(name)
		require.NoError(t, err)
		m, err := vlm.NewModel(r.config(*r.Text, r.Text.VocabSize-1), r.Init)
		require.NoError(t, err)
		for _, recompute := range []bool{false, true} {
			s := TrainStep{model: m, in: m.NewInputs(r.BatchSize, r.SeqLen, 4, r.SeqLen), Recompute: recompute}
			arena := func(most int64) engine.Segments {
				m.MaxBufferBytes = most
				plan, _, err := s.plan(programFirst)
				require.NoError(t, err)
				return plan.Arena
			}
			one := arena(0)
			if again := arena(one.Total()); len(one) != 1 || !slices.Equal(again, one) {
				t.Errorf("%s: %d where one buffer is enough, want %d", name, again, one)
			}
			for _, most := range []int64{4 << 30, 2 << 30, 1 << 30} {
				got := arena(most)
				if slices.Max(got) > most || float64(got.Total()) > 1.01*float64(one.Total()) {
					t.Errorf("%s, recompute %v: %d in buffers of %d, in one %d", name, recompute, got, most, one)
				}
			}
		}
	}
}
