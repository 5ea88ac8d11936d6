package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

func trainDecoder(t *testing.T, ctx context.Context, dev engine.Device, r Recipe, files []string, decoder, out string, resume bool, until func(StepMetrics)) error {
	t.Helper()
	_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Decoder: decoder, Resume: resume, Device: dev, Observe: Observer{Step: until}})
	return err
}

// TestTrainFromDecoder: training from a folder and from a GGUF file gives the same losses. A run
// resumes without the decoder's files, with the same bits, and rejects another decoder.
func TestTrainFromDecoder(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 6)
	r.FreezeDecoderSteps = 2
	d := vlmtest.NewTinyDecoder(t, "tiny_llama", 300)
	folder, file := d.Folder(t), d.GGUF(t, nil, nil)
	a, b, stopped := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	require.NoError(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, folder, a, false, nil))
	require.NoError(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, file, b, false, nil))
	same(t, "a folder and a GGUF file", losses(t, a), losses(t, b))

	ctx, cancel := context.WithCancel(context.Background())
	err := trainDecoder(t, ctx, cpu.Open(0), r, files, file, stopped, false, func(m StepMetrics) {
		if m.Step == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted run returned %v", err)
	}
	var settings *SettingsError
	other := vlmtest.NewTinyDecoder(t, "tiny_qwen3", 300).GGUF(t, nil, nil)
	if err := trainDecoder(t, context.Background(), cpu.Open(0), r, files, other, stopped, true, nil); !errors.As(err, &settings) || !slices.Equal(settings.Names, []string{"decoder"}) {
		t.Errorf("another decoder: %v", err)
	}
	require.NoError(t, os.Remove(file))
	if SavedDecoder(stopped) != file {
		t.Errorf("run.json names the decoder %q, want %q", SavedDecoder(stopped), file)
	}
	require.NoError(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, file, stopped, true, nil))
	same(t, "an interrupted run and an uninterrupted one", losses(t, b), losses(t, stopped))
	if answer := testAnswer(t, cpu.Open(0), stopped); answer == "" {
		t.Log("empty answer after 6 steps")
	}
}
