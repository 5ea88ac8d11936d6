package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

// TestInferDryRun: config.json alone tells what a model takes, by parts; one that no device here holds
// is an error that names the weights that would fit, or says that none do.
func TestInferDryRun(t *testing.T) {
	folder := func(hidden, layers string) string {
		dir := t.TempDir()
		config := `{"model_type": "llama", "hidden_size": ` + hidden + `, "intermediate_size": 8192, "num_hidden_layers": ` + layers + `,
			"num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 32000, "max_position_embeddings": 4096,
			"rms_norm_eps": 1e-5, "rope_theta": 10000, "tie_word_embeddings": true, "hidden_act": "silu"}`
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644))
		return dir
	}
	small, huge := folder("2048", "4"), folder("262144", "1000")
	got := vlmtool("infer", "--dry-run", "--device", "cpu", "--model", small, "--weights", "q8_0", "--cache", "q8_0", "--context", "1000", "--json")
	if got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	var r struct {
		Parameters     int64
		WeightBytes    int64 `json:"weight_bytes"`
		CacheBytes     int64 `json:"cache_bytes"`
		MemoryBytes    int64 `json:"memory_bytes"`
		Activations    int64 `json:"activation_bytes"`
		Context        int
		Weights, Cache string
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &r))
	// 4 layers of 2·2048·2048 + 2·2048·512 + 3·2048·8192 values and the embedding.
	if want := int64(4*(2*2048*2048+2*2048*512+3*2048*8192) + 32000*2048); r.Parameters < want || r.Parameters > want+100_000 {
		t.Errorf("%d parameters, want some %d", r.Parameters, want)
	}
	if r.WeightBytes+r.CacheBytes+r.Activations != r.MemoryBytes || r.CacheBytes < 4*2*1000*512 || r.Weights != "q8_0" || r.Cache != "q8_0" || r.Context != 1000 {
		t.Errorf("got %+v", r)
	}
	if text := vlmtool("infer", "--dry-run", "--device", "cpu", "--model", small); text.code != 0 || !strings.Contains(text.stdout, "keys and values") || !strings.Contains(text.stdout, "of 4096 tokens") {
		t.Errorf("got %+v", text)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--model", huge}, 1, "no --weights makes it fit"},
		{[]string{"--model", small, "--context", "1"}, 2, "--context cannot be 1"},
		{[]string{"--model", t.TempDir()}, 1, "config.json"},
		{[]string{"--model", small, "--adapter", "x"}, 1, "--adapter cannot be planned"},
	} {
		got := vlmtool(append([]string{"infer", "--dry-run", "--device", "cpu"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) || strings.Count(strings.TrimSpace(got.stderr), "\n") > 1 {
			t.Errorf("%q: exit code %d, %q, want %d and %q", c.args, got.code, got.stderr, c.code, c.want)
		}
	}
}

// TestTrainDryRunOfModel: the plan is that of the model, whatever the recipe's sizes.
func TestTrainDryRunOfModel(t *testing.T) {
	small, _ := smallRun(t)
	var plan [2]struct {
		Parameters int64 `json:"parameters"`
	}
	for i, preset := range []string{"shapes", "qwen3-1.7b"} {
		got := vlmtool("train", "--dry-run", "--model", small, "--preset", preset, "--json")
		if got.code != 0 {
			t.Fatalf("%+v", got)
		}
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &plan[i]))
	}
	if plan[0] != plan[1] || plan[0].Parameters == 0 || plan[0].Parameters > 1e7 {
		t.Errorf("%+v", plan)
	}
}
