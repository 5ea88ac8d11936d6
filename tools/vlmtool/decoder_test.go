package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/gguftest"
	"patchwork/internal/require"
)

// TestDecoder exports a trained model's decoder, runs it, trains from it, and tries what a
// text-only decoder cannot do.
func TestDecoder(t *testing.T) {
	model, file := smallRun(t)
	dir := t.TempDir()
	decoder, again, trained := filepath.Join(dir, "decoder"), filepath.Join(dir, "f16"), filepath.Join(dir, "trained")
	imageFile := filepath.Join(dir, "p.png")
	require.NoError(t, os.WriteFile(imageFile, []byte("not read"), 0o644))
	bad := filepath.Join(dir, "bad.gguf")
	require.NoError(t, os.WriteFile(bad, []byte("GGUF\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), 0o644))
	train := []string{"train", "--data", file, "--device", "cpu", "--steps", "2", "--seq-len", "160", "--pool-size", "8", "--val-every", "0"}
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		message string // in the last line of JSON or on stderr
	}{
		{"decoder only", []string{"export", "--model", model, "--out", decoder, "--decoder-only"}, 0, `"dtype":"f32"`},
		{"decoder in f16", []string{"export", "--model", decoder, "--out", again, "--dtype", "f16"}, 0, `"dtype":"f16"`},
		{"ask", []string{"infer", "--model", again, "--prompt", "what color is the shape?", "--device", "cpu", "--max-new-tokens", "3"}, 0, `"completion_tokens"`},
		{"describe", []string{"inspect", decoder}, 0, `"model_type":"llama"`},
		{"plan", []string{"train", "--dry-run", "--preset", "smollm2-135m", "--decoder", decoder}, 0, `"parameters"`},
		{"train", append(train, "--decoder", decoder, "--out", trained), 0, `"steps":2`},
		{"ask with an image", []string{"infer", "--model", decoder, "--prompt", "x", "--device", "cpu", "--image", imageFile}, 2, "--image"},
		{"score with images", []string{"eval", "--model", decoder, "--data", file, "--device", "cpu"}, 2, "text-only"},
		{"start from a decoder as a model", append(train, "--model", decoder, "--out", filepath.Join(dir, "x")), 1, "--decoder"},
		{"start from a bad GGUF file as a model", append(train, "--model", bad, "--out", filepath.Join(dir, "x")), 1, "bad.gguf"},
		{"decoder in a file", []string{"export", "--model", decoder, "--quantize", "f16", "--out", filepath.Join(dir, "decoder.gguf")}, 0, `"dtype":"f16"`},
		{"into a file that exists", []string{"export", "--model", decoder, "--quantize", "f16", "--out", filepath.Join(dir, "decoder.gguf")}, 2, "exists"},
		{"start from a GGUF file as a model", append(train, "--model", filepath.Join(dir, "decoder.gguf"), "--out", filepath.Join(dir, "x")), 1, "--decoder"},
		{"ask a GGUF file", []string{"infer", "--model", filepath.Join(dir, "decoder.gguf"), "--prompt", "x", "--max-new-tokens", "2", "--device", "cpu"}, 0, `"weights":"f32"`},
		{"a file without .gguf", []string{"export", "--model", decoder, "--quantize", "f16", "--out", filepath.Join(dir, "decoder.bin")}, 2, ".gguf"},
		{"an adapter without --merge", []string{"export", "--model", decoder, "--adapter", decoder, "--out", filepath.Join(dir, "y")}, 2, "--merge"},
		{"weights without an adapter", append(train, "--weights", "q8_0", "--out", filepath.Join(dir, "x")), 2, "--lora-rank"},
		{"an adapter of nothing", append(train, "--lora-rank", "4", "--out", filepath.Join(dir, "x")), 1, "--model"},
		{"missing decoder", append(train, "--decoder", "nowhere", "--out", filepath.Join(dir, "x")), 1, "nowhere"},
		{"bad GGUF file", append(train, "--decoder", bad, "--out", filepath.Join(dir, "x")), 1, "bad.gguf"},
		{"ask a bad GGUF file", []string{"infer", "--model", bad, "--prompt", "x", "--device", "cpu"}, 1, "bad.gguf"},
		{"inspect a bad GGUF file", []string{"inspect", bad}, 1, "bad.gguf"},
		{"export what", []string{"export", "--out", decoder}, 2, "--model"},
		{"export where", []string{"export", "--model", model}, 2, "--out"},
		{"export into a folder in use", []string{"export", "--model", model, "--out", decoder}, 2, "not empty"},
		{"export with an unknown type", []string{"export", "--model", model, "--out", filepath.Join(dir, "x"), "--dtype", "q4"}, 2, "q4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vlmtool(append(c.args, "--json", "--quiet")...)
			text := got.stderr
			if c.code == 0 {
				text = got.stdout
			}
			if got.code != c.code || !strings.Contains(text, c.message) || c.code == 1 && strings.Count(text, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit %d and %q", got.code, got.stdout, got.stderr, c.code, c.message)
			}
		})
	}
}

func TestInspectGGUF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	long := make([]int32, 100)
	require.NoError(t, os.WriteFile(path, gguftest.File(3, gguftest.Pairs("general.name", "a\nb", "long", long, "bytes", []uint8{1, 2}),
		[]gguftest.Tensor{gguftest.Floats("w", []int{2, 3}, make([]float32, 6)), gguftest.Floats("b", []int{2}, make([]float32, 2))}), 0o644))
	got := vlmtool("inspect", path)
	for _, want := range []string{`general.name                             a\nb`, "100 elements", "[2 3]", "2 tensors, 8 parameters"} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("exit %d, %q, want %q in it", got.code, got.stdout, want)
		}
	}
	lines := strings.Split(strings.TrimSpace(vlmtool("inspect", path, "--json").stdout), "\n")
	var last struct {
		Metadata   map[string]any
		Tensors    int
		Parameters int64
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if len(lines) != 3 || last.Tensors != 2 || last.Parameters != 8 || last.Metadata["general.name"] != "a\nb" {
		t.Errorf("%d lines, the last is %+v", len(lines), last)
	}
}
