package vlmtest

// Gemma12B is the decoder's part of Gemma 4 12B's config.json.
const Gemma12B = `{"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text",
	"vocab_size": 262144, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16,
	"num_key_value_heads": 8, "head_dim": 256, "num_global_key_value_heads": 1, "global_head_dim": 512, "attention_k_eq_v": true,
	"sliding_window": 1024, "use_bidirectional_attention": "vision", "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
	"rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
		"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
	"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "tie_word_embeddings": true}}`
