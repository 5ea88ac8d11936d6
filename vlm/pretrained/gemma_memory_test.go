package pretrained_test

import (
	"testing"

	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// gemma12B is the decoder's configuration of Gemma 4 12B.
const gemma12B = `{"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text",
	"vocab_size": 262144, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16,
	"num_key_value_heads": 8, "head_dim": 256, "num_global_key_value_heads": 1, "global_head_dim": 512, "attention_k_eq_v": true,
	"sliding_window": 1024, "use_bidirectional_attention": "vision", "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
	"rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
		"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
	"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "tie_word_embeddings": true}}`

// TestGemmaMemory: Gemma 4 12B in q4_k answers with 8192 tokens of context in less than 9.5 GB, and has
// some 12 billion parameters.
func TestGemmaMemory(t *testing.T) {
	text := require.Value(vlm.ParseText([]byte(gemma12B)))(t)
	m, err := vlm.NewModel(vlm.Config{ModelType: vlm.ModelType, Text: text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: vlm.FormatVersion}, vlm.Init{})
	require.NoError(t, err)
	if n := m.Params.Count(); n < 11.5e9 || n > 12.5e9 {
		t.Errorf("%d parameters, want 12 billion", n)
	}
	pretrained.LoadOptions{Type: shaders.BF16, Weights: "q4_k", Cache: vlm.CacheAuto}.Store(m)
	rest, err := generate.MemoryBytes(m, 8192-256, 256)
	require.NoError(t, err)
	t.Logf("weights %d, the rest %d", m.WeightBytes(), rest)
	if total := m.WeightBytes() + rest; total > 95e8 {
		t.Errorf("%d bytes of weights and %d of the rest, want at most 9.5e9 together", m.WeightBytes(), rest)
	}
}
