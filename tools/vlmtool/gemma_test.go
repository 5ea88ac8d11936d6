package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/gemmatest"
	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/infer"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
)

// gemmaData writes rows of a picture, a clip and a question.
func gemmaData(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.CreateWithSound(path)
	require.NoError(t, err)
	for i := range 12 {
		color := []color.Gray{{40}, {120}, {200}}[i%3]
		require.NoError(t, w.Write(data.Row{
			Images: [][]byte{grayPNG(t, color, 20+i, 30)}, Clips: [][]byte{tone(900, 100+i)}, Turns: []data.Turn{{User: "what?", Assistant: fmt.Sprint(color.Y)}},
		}))
	}
	require.NoError(t, w.Close())
	return path
}

// grayPNG is an image of one gray.
func grayPNG(t *testing.T, c color.Gray, w, h int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = c.Y
	}
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

// TestGemma: a Gemma 4 folder is asked about a picture and a clip, evaluated, inspected, trained with
// adapters, merged, exported as one file, and split again.
func TestGemma(t *testing.T) {
	folder, file, dir := gemmatest.Folder(t), gemmaData(t), t.TempDir()
	picture, clip := filepath.Join(dir, "x.png"), filepath.Join(dir, "y.wav")
	require.NoError(t, os.WriteFile(picture, grayPNG(t, color.Gray{80}, 30, 30), 0o644))
	require.NoError(t, os.WriteFile(clip, tone(700, 100), 0o644))
	must := func(args ...string) outcome {
		t.Helper()
		got := vlmtool(args...)
		if got.code != 0 {
			t.Fatalf("%v: %+v", args, got)
		}
		return got
	}
	ask := func(args ...string) infer.Result {
		t.Helper()
		got := must(append([]string{"infer", "--device", "cpu", "--json", "--max-new-tokens", "4", "--prompt", "what?"}, args...)...)
		var r infer.Result
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.stderr != "" {
			t.Fatalf("%v: %v: %+v", args, err, got)
		}
		return r
	}
	text := ask("--model", folder).PromptTokens
	media := []string{"--image", picture, "--audio", clip, "--image-tokens", "9"}
	whole := ask(append(media, "--model", folder)...)
	if whole.PromptTokens != text+9+2+4+2 { // 9 patches and 4 frames of 32 samples, each between two tokens
		t.Errorf("%d tokens of a picture and a clip, %d without", whole.PromptTokens, text)
	}

	run, merged := filepath.Join(dir, "run"), filepath.Join(dir, "merged")
	must("train", "--model", folder, "--data", file, "--out", run, "--lora-rank", "2", "--steps", "3", "--seq-len", "128", "--turns", "conversation",
		"--image-tokens", "9", "--val-every", "0", "--device", "cpu", "--quiet")
	adapter := filepath.Join(run, "adapter")
	must("export", "--merge", "--model", folder, "--adapter", adapter, "--out", merged, "--quiet")
	adapted := ask(append(media, "--model", folder, "--adapter", adapter)...)
	if r := ask(append(media, "--model", merged)...); r.Text != adapted.Text || r.PromptTokens != adapted.PromptTokens {
		t.Errorf("merged %+v, with the adapter %+v", r, adapted)
	}
	one := filepath.Join(dir, "one.gguf")
	must("export", "--model", merged, "--quantize", "f32", "--out", one, "--quiet")
	if r := ask(append(media, "--model", one)...); r.Text != adapted.Text {
		t.Errorf("one file answers %q, the folder %q", r.Text, adapted.Text)
	}

	got := must("eval", "--model", folder, "--data", file, "--device", "cpu", "--json", "--limit", "6", "--image-tokens", "9")
	var scores eval.Result
	if err := json.Unmarshal([]byte(got.stdout), &scores); err != nil || scores.Samples != 6 {
		t.Errorf("eval: %v: %+v", err, got)
	}
	got = must("inspect", folder)
	for _, want := range []string{"up to 280 patches of 12×12", "16000 Hz in frames of 32 samples", "document_bidirectional_image"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("inspect has no %q: %s", want, got.stdout)
		}
	}
	got = must("train", "--dry-run", "--model", folder, "--lora-rank", "2", "--seq-len", "320", "--json", "--peak-tflops", "1")
	if !strings.Contains(got.stdout, `"sample_tokens":320`) {
		t.Errorf("dry run: %+v", got)
	}
	for want, args := range map[string][]string{
		"--mmproj belongs to a GGUF file":       {"infer", "--model", folder, "--mmproj", one, "--prompt", "x"},
		"has its embedders inside":              {"infer", "--model", one, "--mmproj", one, "--prompt", "x"},
		"use --image-size keep:9":               {"train", "--image-tokens", "9", "--data", file, "--out", filepath.Join(dir, "z")},
		"--image-tokens cannot be -1":           {"train", "--image-tokens", "-1", "--model", folder, "--data", file, "--out", filepath.Join(dir, "z")},
		"--image-size cannot be changed in the": {"train", "--image-size", "keep:9", "--model", folder, "--data", file, "--out", filepath.Join(dir, "z")},
	} {
		if got := vlmtool(args...); got.code == 0 || !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "\n") > 2 {
			t.Errorf("%v: want %q: %+v", args, want, got)
		}
	}
}

// TestGemmaFigures: attention is drawn on pictures of several shapes, and a Gemma 4's embedder as others.
func TestGemmaFigures(t *testing.T) {
	folder, dir := gemmatest.Folder(t), t.TempDir()
	wide, tall, out := filepath.Join(dir, "wide.png"), filepath.Join(dir, "tall.png"), filepath.Join(dir, "out.png")
	require.NoError(t, os.WriteFile(wide, grayPNG(t, color.Gray{80}, 90, 30), 0o644))
	require.NoError(t, os.WriteFile(tall, grayPNG(t, color.Gray{180}, 20, 70), 0o644))
	got := vlmtool("infer", "--model", folder, "--device", "cpu", "--json", "--max-new-tokens", "12", "--image-tokens", "8", "--image", wide, "--image", tall, "--prompt", "what?", "--explain", out)
	var r infer.Result
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || len(r.Explain.Words) == 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	for _, w := range r.Explain.Words {
		if sum := w.Image + w.Prompt + w.Answer; math.Abs(sum-1) > 1e-5 || len(w.Layers) != 6 || len(w.Patches) != 5 {
			t.Errorf("%q: shares sum to %g, %d layers, %d patches", w.Text, sum, len(w.Layers), len(w.Patches))
		}
		for _, p := range w.Patches { // 1 row of 4 or 5 columns, and up to 5 rows of 1 column
			if p.Image == 0 && p.Row > 1 || p.Image == 1 && p.Column > 1 {
				t.Errorf("patch %+v is in no such picture", p)
			}
		}
	}
	figures := filepath.Join(dir, "figures")
	got = vlmtool("inspect", folder, "--figures", figures, "--image", wide)
	if got.code != 0 || strings.Count(got.stdout, "\n") != 3 {
		t.Fatalf("%+v", got)
	}
	for _, file := range append(strings.Fields(got.stdout), out) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		if _, err := png.Decode(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
