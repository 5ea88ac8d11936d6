package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

// TestInferNotFinite: a model with a NaN weight in its last norm gives an error of one line
// and no answer, greedily and with sampling.
func TestInferNotFinite(t *testing.T) {
	model, file := smallRun(t)
	damaged := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(damaged, os.DirFS(model)))
	putNaN(t, filepath.Join(damaged, "model.safetensors"), "decoder.model.norm.weight")
	ask := []string{"infer", "--model", damaged, "--device", "cpu", "--prompt", "what color is the shape?", "--quiet"}
	for _, args := range [][]string{
		ask, append(ask, "--json"), append(ask, "--temperature", "0.7"), append(ask, "--temperature", "1", "--top-k", "5", "--top-p", "0.5"),
		append(ask, "--repetition-penalty", "2"), append(ask, "--dtype", "f16"), append(ask, "--dtype", "bf16"), append(ask, "--raw"),
		{"eval", "--model", damaged, "--data", file, "--device", "cpu", "--limit", "1", "--quiet"},
	} {
		got := vlmtool(args...)
		if got.code != 1 || strings.TrimSpace(got.stdout) != "" || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "the model's output is not a number") {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", args, got.code, got.stdout, got.stderr)
		}
		if args[0] == "infer" && !strings.Contains(got.stderr, "after token ") {
			t.Errorf("%v: %q lacks the position", args, got.stderr)
		}
	}
}

// putNaN sets the first value of a tensor to NaN.
func putNaN(t *testing.T, file, tensor string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	start := 8 + binary.LittleEndian.Uint64(raw)
	var header map[string]struct {
		DType   string    `json:"dtype"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	require.NoError(t, json.Unmarshal(raw[8:start], &header))
	at, ok := header[tensor]
	if !ok || at.DType != "F32" {
		t.Fatalf("%s has %s in %q", file, tensor, at.DType)
	}
	binary.LittleEndian.PutUint32(raw[start+at.Offsets[0]:], 0x7fc00000)
	require.NoError(t, os.WriteFile(file, raw, 0o644))
}
