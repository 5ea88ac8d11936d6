package vlm

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

// TestRope compares frequencies with those of transformers for the same settings
// (testdata/rope/record.py).
func TestRope(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "rope", "recorded.json"))
	require.NoError(t, err)
	var recorded []struct {
		Config      json.RawMessage
		Frequencies []float64
		Scale       float64
	}
	require.NoError(t, json.Unmarshal(text, &recorded))
	if len(recorded) < 50 {
		t.Fatalf("%d settings", len(recorded))
	}
	const tolerance = 1e-6 // transformers computes in float32, a few roundings of 6e-8
	for _, r := range recorded {
		var c TextConfig
		if err := json.Unmarshal(r.Config, &c); err != nil {
			t.Errorf("%s: %v", r.Config, err)
			continue
		}
		got, scale := frequencies(c.HeadDim, c.RopeTheta, c.RopeScaling)
		if math.Abs(scale-r.Scale) > tolerance*r.Scale || len(got) != len(r.Frequencies) {
			t.Errorf("%s: %d frequencies, scale %v, want %d, %v", r.Config, len(got), scale, len(r.Frequencies), r.Scale)
			continue
		}
		for i, want := range r.Frequencies {
			if math.Abs(got[i]-want) > tolerance*want {
				t.Errorf("%s: frequency %d is %v, want %v", r.Config, i, got[i], want)
				break
			}
		}
		again, err := json.Marshal(c)
		require.NoError(t, err)
		var read TextConfig
		require.NoError(t, json.Unmarshal(again, &read))
		if f, s := frequencies(read.HeadDim, read.RopeTheta, read.RopeScaling); s != scale || f[1] != got[1] || f[len(f)-1] != got[len(f)-1] {
			t.Errorf("%s: written as %s, which gives other frequencies", r.Config, again)
		}
	}
}

// TestTextConfigKeys: a setting that changes the computation is read, or rejected by name unless
// its value is neutral.
func TestTextConfigKeys(t *testing.T) {
	for _, test := range []struct {
		kind, keys string
		want       string // in the error; "" = accepted
	}{
		{"llama", ``, ""},
		{"llama", `"rope_scaling": null, "sliding_window": null, "rope_interleaved": false, "layer_types": null`, ""},
		{"llama", `"rope_scaling": {"rope_type": "longrope", "short_factor": [1], "long_factor": [2]}`, "long_factor"},
		{"llama", `"rope_scaling": {"type": "su"}`, `rope_type "su"`},
		{"llama", `"rope_scaling": {"type": "mrope", "mrope_section": [2]}`, "mrope_section"},
		{"llama", `"rope_scaling": {"rope_type": "linear"}`, "factor is missing"},
		{"llama", `"rope_scaling": {"rope_type": "linear", "factor": "2"}`, "factor is"},
		{"llama", `"rope_scaling": {"rope_type": "linear", "factor": 0}`, "factor is missing"},
		{"llama", `"rope_scaling": {"rope_type": "linear", "factor": -2}`, "above 0"},
		{"llama", `"rope_scaling": {"rope_type": "linear", "factor": 2, "low_freq_factor": 2}`, "low_freq_factor has no meaning"},
		{"llama", `"rope_scaling": {"rope_type": "llama3", "factor": 8}`, "low_freq_factor"},
		{"llama", `"rope_scaling": {"rope_type": "default", "factor": 8}`, "want none"},
		{"llama", `"rope_scaling": {"rope_type": "linear", "factor": 2, "finetuned": true}`, "finetuned"},
		{"llama", `"rope_scaling": [1]`, "rope_scaling"},
		{"llama", `"partial_rotary_factor": 0.5`, "partial_rotary_factor"},
		{"llama", `"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}`, "partial_rotary_factor"},
		{"llama", `"rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default"}}`, "full_attention"},
		{"llama", `"partial_rotary_factor": 1.0`, ""},
		{"llama", `"rope_interleaved": true`, "rope_interleaved"},
		{"llama", `"sliding_window": 1024`, "sliding_window"},
		{"llama", `"sliding_window": 4096`, ""},
		{"llama", `"final_logit_softcapping": 30.0`, "final_logit_softcapping"},
		{"llama", `"final_logit_softcapping": null, "attn_logit_softcapping": 0`, ""},
		{"llama", `"attention_multiplier": 0.5`, "attention_multiplier"},
		{"llama", `"embedding_multiplier": 1.0, "logits_scaling": 1, "residual_multiplier": 1.0`, ""},
		{"llama", `"logits_scaling": 8`, "logits_scaling"},
		{"llama", `"query_pre_attn_scalar": 32`, ""},
		{"llama", `"query_pre_attn_scalar": 64`, "query_pre_attn_scalar"},
		{"llama", `"use_qk_norm": true`, "use_qk_norm"},
		{"llama", `"use_qk_norm": false`, ""},
		{"llama", `"clip_qkv": 8`, "clip_qkv"},
		{"llama", `"layer_types": ["full_attention"]`, ""},
		{"llama", `"layer_types": ["linear_attention"]`, "linear_attention"},
		{"llama", `"mlp_bias": true`, "mlp_bias"},
		{"llama", `"hidden_act": "swish"`, ""},
		{"llama", `"hidden_act": "gelu"`, "hidden_act"},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 0`, ""},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 0, "max_window_layers": 0`, "sliding_window is 0"},
		{"qwen2", `"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 0`, ""},
		{"qwen2", `"attention_bias": true`, "attention_bias"},
		{"gemma3_text", `"layer_types": ["full_attention"]`, ""},
		{"gemma3_text", `"layer_types": ["linear_attention"]`, "linear_attention"},
		{"gemma3_text", `"layer_types": ["full_attention", "full_attention"]`, "2 entries"},
		{"gemma3_text", `"hidden_activation": "gelu"`, "hidden_activation"},
		{"gemma3_text", `"attn_logit_softcapping": 50`, "attn_logit_softcapping"},
		{"gemma3_text", `"query_pre_attn_scalar": 0`, "query_pre_attn_scalar"},
		{"gemma3_text", `"use_bidirectional_attention": true`, "use_bidirectional_attention"},
		{"gemma3_text", `"sliding_window": -1`, "sliding_window"},
		{"gemma3_text", `"rope_parameters": {"full_attention": {"rope_type": "default"}}`, "sliding_attention"},
		{"gemma4_unified_text", `"enable_moe_block": true`, "enable_moe_block"},
		{"gemma4_unified_text", `"global_head_dim": 7`, "global_head_dim"},
		{"gemma4_unified_text", `"num_global_key_value_heads": 2`, "num_global_key_value_heads"},
		{"gemma4_unified_text", `"per_layer_config": {"0": {"head_dim": 64}}`, "per_layer_config"},
		{"gemma4_unified_text", `"final_logit_softcapping": -1`, "final_logit_softcapping"},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 1`, ""},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 2048, "max_window_layers": 0`, ""},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 64`, ""}, // only layers from 28 on have a window
		{"qwen3", `"use_sliding_window": false, "sliding_window": 64, "max_window_layers": 0`, ""},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 64, "layer_types": ["sliding_attention"]`, ""},
		{"qwen3", `"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 0, "layer_types": ["full_attention"]`, ""},
	} {
		text := `{"model_type": "` + test.kind + `", "hidden_size": 96, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 3,
			"head_dim": 32, "vocab_size": 300, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5`
		if test.keys != "" {
			text += ", " + test.keys
		}
		var c TextConfig
		err := json.Unmarshal([]byte(text+"}"), &c)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %s: %v, want %q", test.kind, test.keys, err, test.want)
		}
	}
}
