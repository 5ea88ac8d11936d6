package pretrained

import (
	"errors"
	"fmt"
	"slices"

	"patchwork/nn/gguf"
	"patchwork/vlm"
)

func isGemma(kind string) bool { return kind == "gemma3_text" || kind == "gemma4_unified_text" }

// gemma3Pattern: every sixth layer of Gemma 3 has no window. Its files do not say so: the
// architecture's name implies it, as it does slidingTheta (llama.cpp, llama-model.cpp).
const (
	gemma3Pattern = 6
	slidingTheta  = 1e4
	// gemma27BLayers are the layers of the 27B, the only one whose attention scores are not divided by
	// the root of the head size.
	gemma27BLayers = 62
)

// ggufGemma completes the configuration of a Gemma from the metadata.
func ggufGemma(f *gguf.File, arch string, fields map[string]any) (c vlm.TextConfig, err error) {
	m := f.Metadata
	window, ok := m.Int(arch + ".attention.sliding_window")
	if !ok {
		return c, fmt.Errorf("metadata key %q is missing or not a number", arch+".attention.sliding_window")
	}
	heads, _ := fields["num_attention_heads"].(int)
	if _, ok := fields["num_key_value_heads"]; !ok && arch == "gemma3" {
		fields["num_key_value_heads"] = heads // not transformers' default
	}
	if _, ok := fields["head_dim"]; !ok {
		fields["head_dim"] = fields["hidden_size"].(int) / max(1, heads)
	}
	fields["sliding_window"], fields["hidden_activation"] = window, "gelu_pytorch_tanh"
	sliding := map[string]any{"rope_type": "default", "rope_theta": slidingTheta}
	if theta, ok := m.Float(arch + ".rope.freq_base_swa"); ok {
		sliding["rope_theta"] = shortestDecimal(theta)
	}
	if arch == "gemma3" {
		fields["sliding_window_pattern"] = gemma3Pattern
		ggufGemma3Scale(fields)
	} else if err := ggufGemma4Config(f, fields); err != nil {
		return c, err
	}
	full := map[string]any{"rope_type": "default"}
	fields["rope_parameters"] = map[string]any{vlm.FullAttention: full, vlm.SlidingAttention: sliding}
	if theta, ok := fields["rope_theta"]; ok {
		full["rope_theta"] = theta
		delete(fields, "rope_theta")
	}
	if c, err = parseText(fields); err != nil {
		return c, err
	}
	if err := checkGGUF(f, c); err != nil {
		return c, err
	}
	scaling, err := ggufRope(f, arch, c.MaxPositionEmbeddings, c.AttentionKinds()[0].HeadDim, c.RopeTheta)
	if scaling == nil || err != nil {
		return c, err
	}
	for name, value := range scaling {
		full[name] = value
	}
	return parseText(fields)
}

// ggufGemma3Scale sets the attention scale, which the files do not give.
func ggufGemma3Scale(fields map[string]any) {
	number := func(name string) int { n, _ := fields[name].(int); return n }
	if fields["query_pre_attn_scalar"] = number("head_dim"); number("num_hidden_layers") == gemma27BLayers {
		fields["query_pre_attn_scalar"] = number("hidden_size") / max(1, number("num_attention_heads"))
	}
}

// ggufGemma4Config reads what differs between layers of Gemma 4 with and without a window.
func ggufGemma4Config(f *gguf.File, fields map[string]any) error {
	m := f.Metadata
	for _, key := range []string{"gemma4.attention.shared_kv_layers", "gemma4.embedding_length_per_layer_input", "gemma4.expert_count"} {
		if n, _ := m.Int(key); n != 0 {
			return fmt.Errorf("metadata key %q is %d; only the dense unified models are supported, such as the 12B", key, n)
		}
	}
	pattern, ok := m.Value("gemma4.attention.sliding_window_pattern").([]bool)
	heads, okHeads := m.Ints("gemma4.attention.head_count_kv")
	headDim, okDim := m.Int("gemma4.attention.key_length_swa")
	layers, _ := m.Int("gemma4.block_count")
	if !ok || !okHeads || !okDim || len(pattern) != layers || len(heads) != layers {
		return errors.New("metadata keys gemma4.attention.sliding_window_pattern, head_count_kv or key_length_swa are missing or not of the number of layers")
	}
	fields["global_head_dim"], fields["head_dim"] = fields["head_dim"], headDim
	var types []string
	for i, windowed := range pattern {
		kind, field := vlm.FullAttention, "num_global_key_value_heads"
		if windowed {
			kind, field = vlm.SlidingAttention, "num_key_value_heads"
		}
		if n, seen := fields[field]; seen && n != int(heads[i]) {
			return fmt.Errorf("gemma4.attention.head_count_kv: layer %d has %d heads, others of %s have %d", i, heads[i], kind, n)
		}
		fields[field] = int(heads[i])
		types = append(types, kind)
	}
	fields["layer_types"], fields["use_bidirectional_attention"] = types, "vision"
	if i := slices.Index(types, vlm.FullAttention); i >= 0 {
		_, separate := f.Tensor(fmt.Sprintf("blk.%d.attn_v.weight", i))
		fields["attention_k_eq_v"] = !separate
	}
	if limit, ok := m.Float("gemma4.final_logit_softcapping"); ok {
		fields["final_logit_softcapping"] = shortestDecimal(limit)
	}
	return nil
}

// addGemma adds the metadata of a Gemma. It returns an error for settings that the files cannot
// express.
func addGemma(add func(key string, value any), c vlm.TextConfig) error {
	add("attention.sliding_window", uint32(c.SlidingWindow))
	if c.ModelType == "gemma3_text" {
		return checkGemma3(c)
	}
	kinds := c.AttentionKinds()
	var pattern []bool
	var heads []int32
	for i := range c.NumHiddenLayers {
		l := c.Layer(i)
		pattern, heads = append(pattern, kinds[l.Attention].Window > 0), append(heads, int32(l.KVHeads))
	}
	add("attention.sliding_window_pattern", pattern)
	add("attention.head_count_kv", heads)
	for _, key := range []string{"attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa"} {
		add(key, uint32(c.HeadDim))
	}
	add("attention.shared_kv_layers", uint32(0))
	add("embedding_length_per_layer_input", uint32(0))
	add("rope.freq_base_swa", float32(c.SlidingRopeTheta))
	if c.FinalSoftCap > 0 {
		add("final_logit_softcapping", float32(c.FinalSoftCap))
	}
	return nil
}

// checkGemma3 returns an error for a Gemma 3 that is not what the architecture's name implies.
func checkGemma3(c vlm.TextConfig) error {
	for i, kind := range c.LayerTypes {
		if (kind == vlm.FullAttention) != ((i+1)%gemma3Pattern == 0) {
			return fmt.Errorf("layer %d is of type %s; a GGUF file of a gemma3 has no window in every %dth layer", i, kind, gemma3Pattern)
		}
	}
	implied := map[string]any{"head_dim": c.HeadDim, "num_hidden_layers": c.NumHiddenLayers, "hidden_size": c.HiddenSize, "num_attention_heads": c.NumAttentionHeads}
	ggufGemma3Scale(implied)
	switch {
	case c.QueryPreAttnScalar != float64(implied["query_pre_attn_scalar"].(int)):
		return fmt.Errorf("query_pre_attn_scalar is %g; a GGUF file of a gemma3 with these sizes implies %v", c.QueryPreAttnScalar, implied["query_pre_attn_scalar"])
	case c.SlidingRopeTheta != slidingTheta || c.SlidingRopeScaling != nil:
		return fmt.Errorf("RoPE of layers with a window has theta %g; a GGUF file of a gemma3 implies %g", c.SlidingRopeTheta, slidingTheta)
	case c.FinalSoftCap != 0:
		return fmt.Errorf("final_logit_softcapping is %g, which a GGUF file of a gemma3 cannot express", c.FinalSoftCap)
	}
	return nil
}
