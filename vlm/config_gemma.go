package vlm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// gemmaFields are the fields of Gemma's decoders, in the spelling of the hub's files and in that of
// files that transformers 5 has written.
type gemmaFields struct {
	GlobalHeadDim  int             `json:"global_head_dim"`
	GlobalKVHeads  *int            `json:"num_global_key_value_heads"`
	PerLayer       json.RawMessage `json:"per_layer_config"`
	KeysAsValues   bool            `json:"attention_k_eq_v"`
	QueryScalar    *float64        `json:"query_pre_attn_scalar"`
	SoftCap        *float64        `json:"final_logit_softcapping"`
	LocalTheta     *float64        `json:"rope_local_base_freq"`
	Pattern        *int            `json:"sliding_window_pattern"`
	PatternResaved *int            `json:"_sliding_window_pattern"`
	Bidirectional  json.RawMessage `json:"use_bidirectional_attention"`
	SharedKVLayers int             `json:"num_kv_shared_layers"`
	PerLayerInput  int             `json:"hidden_size_per_layer_input"`
	MoE            bool            `json:"enable_moe_block"`
	DoubleWideMLP  bool            `json:"use_double_wide_mlp"`
}

// readGemma reads the settings of a Gemma decoder, after those that all decoders have.
func (c *TextConfig) readGemma(data []byte, f textFields) error {
	var g gemmaFields
	if err := json.Unmarshal(data, &g); err != nil {
		return err
	}
	switch {
	case c.AttentionBias:
		return fmt.Errorf("text_config: attention_bias is not supported for a %s decoder", c.ModelType)
	case g.SharedKVLayers != 0, g.PerLayerInput != 0, g.MoE, g.DoubleWideMLP:
		return fmt.Errorf("text_config: num_kv_shared_layers, hidden_size_per_layer_input, enable_moe_block and use_double_wide_mlp are not supported: " +
			"the dense unified models are, such as the 12B")
	}
	if err := c.readGemmaLayers(f, g); err != nil {
		return err
	}
	if err := c.readGemmaGlobal(g); err != nil {
		return err
	}
	if err := c.readBidirectional(g.Bidirectional); err != nil {
		return err
	}
	if c.ModelType == "gemma3_text" {
		c.QueryPreAttnScalar = 256 // transformers' default
		if g.QueryScalar != nil {
			c.QueryPreAttnScalar = *g.QueryScalar
		}
		if !(c.QueryPreAttnScalar > 0) {
			return fmt.Errorf("text_config: query_pre_attn_scalar is %g, want a number above 0", c.QueryPreAttnScalar)
		}
	}
	if g.SoftCap != nil {
		if c.FinalSoftCap = *g.SoftCap; !(c.FinalSoftCap >= 0) || c.FinalSoftCap > 1e6 {
			return fmt.Errorf("text_config: final_logit_softcapping is %g, want a number above 0", c.FinalSoftCap)
		}
	}
	return c.readGemmaRoPE(f, g)
}

// readGemmaLayers reads which layers have a window.
func (c *TextConfig) readGemmaLayers(f textFields, g gemmaFields) error {
	c.LayerTypes, c.SlidingWindow = f.LayerTypes, 4096 // transformers' default
	if f.SlidingWindow != nil {
		c.SlidingWindow = *f.SlidingWindow
	}
	if len(c.LayerTypes) == 0 {
		every := 6 // transformers' default: every sixth layer has no window
		for _, p := range []*int{g.PatternResaved, g.Pattern} {
			if p != nil {
				every = *p
			}
		}
		if every < 1 {
			return fmt.Errorf("text_config: sliding_window_pattern is %d, want a number above 0", every)
		}
		for i := range c.NumHiddenLayers {
			kind := SlidingAttention
			if (i+1)%every == 0 {
				kind = FullAttention
			}
			c.LayerTypes = append(c.LayerTypes, kind)
		}
	}
	if err := checkLayerTypes(c.LayerTypes, c.NumHiddenLayers); err != nil {
		return err
	}
	return c.checkWindow()
}

// readGemmaGlobal reads the heads of layers without a window.
func (c *TextConfig) readGemmaGlobal(g gemmaFields) error {
	if c.ModelType != "gemma4_unified_text" {
		return nil
	}
	c.KeysAsValues, c.GlobalHeadDim = g.KeysAsValues, g.GlobalHeadDim
	if g.GlobalKVHeads != nil {
		c.GlobalKVHeads = *g.GlobalKVHeads
	}
	if err := c.readPerLayer(g.PerLayer); err != nil {
		return err
	}
	switch d, k := c.globalHeadDim(), c.globalKVHeads(); {
	case d < 2 || d%2 != 0 || d > 1<<16:
		return fmt.Errorf("text_config: global_head_dim is %d, want an even number", d)
	case k < 1 || c.NumAttentionHeads%k != 0:
		return fmt.Errorf("text_config: %d attention heads are not a multiple of %d key/value heads (num_global_key_value_heads)", c.NumAttentionHeads, k)
	}
	return nil
}

// readPerLayer reads per_layer_config, the form in which transformers 5 writes the sizes of some
// layers' heads. They must be all the layers without a window, and have the same sizes.
func (c *TextConfig) readPerLayer(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	type sizes struct {
		HeadDim int `json:"head_dim"`
		KVHeads int `json:"num_key_value_heads"`
	}
	layers := map[string]sizes{}
	if err := json.Unmarshal(raw, &layers); err != nil {
		return fmt.Errorf("text_config: per_layer_config is %.60s: %w", Compact(raw), err)
	}
	var all sizes
	for i, name := range slices.Sorted(maps.Keys(layers)) {
		layer, err := strconv.Atoi(name)
		if err != nil || layer < 0 || layer >= c.NumHiddenLayers || c.windowed(layer) {
			return fmt.Errorf("text_config: per_layer_config has settings for layer %.20q; only layers of %s may have their own", name, FullAttention)
		}
		if i > 0 && layers[name] != all {
			return fmt.Errorf("text_config: per_layer_config: layers of %s have different heads, which is not supported", FullAttention)
		}
		all = layers[name]
	}
	for i, kind := range c.LayerTypes {
		if _, ok := layers[strconv.Itoa(i)]; !ok && kind == FullAttention && len(layers) > 0 {
			return fmt.Errorf("text_config: per_layer_config has no settings for layer %d, as it has for other layers of %s", i, FullAttention)
		}
	}
	c.GlobalHeadDim, c.GlobalKVHeads = all.HeadDim, all.KVHeads
	return nil
}

// readBidirectional reads whether the tokens of an image attend to each other.
func (c *TextConfig) readBidirectional(raw json.RawMessage) error {
	switch text := string(raw); {
	case text == "" || text == "null" || text == "false":
		return nil
	case text == `"vision"` && c.family().causalImages:
		c.ImagesBothWays = true
		return nil
	}
	return fmt.Errorf("text_config: use_bidirectional_attention is %.60s, which is not supported for a %s decoder", Compact(raw), c.ModelType)
}

// readGemmaRoPE reads RoPE's settings of layers without and with a window: rope_parameters by type of
// layer, or rope_theta and rope_scaling, and rope_local_base_freq.
func (c *TextConfig) readGemmaRoPE(f textFields, g gemmaFields) error {
	full, sliding := f.ropeFields, ropeFields{RopeTheta: g.LocalTheta}
	if len(f.RopeParameters) > 0 {
		full, sliding = ropeFields{}, ropeFields{}
		for name, into := range map[string]*ropeFields{FullAttention: &full, SlidingAttention: &sliding} {
			if err := json.Unmarshal(f.RopeParameters[name], &into.RopeParameters); err != nil {
				return fmt.Errorf("text_config: rope_parameters has no valid %q", name)
			}
		}
	} else if full.RopeTheta == nil {
		theta := 1e6 // transformers' default
		full.RopeTheta = &theta
	}
	var err error
	if c.RopeTheta, c.RopeScaling, err = full.rope(c, c.globalHeadDim()); err != nil {
		return err
	}
	c.SlidingRopeTheta, c.SlidingRopeScaling, err = sliding.rope(c, c.HeadDim)
	return err
}

// ParseText parses the decoder's settings in a config.json of Hugging Face's: those of its
// text_config, where the model has other parts too.
func ParseText(data []byte) (c TextConfig, err error) {
	var whole struct {
		ModelType string                     `json:"model_type"`
		Text      map[string]json.RawMessage `json:"text_config"`
		Tied      json.RawMessage            `json:"tie_word_embeddings"`
	}
	if err := json.Unmarshal(data, &whole); err != nil {
		return c, err
	}
	inner, nested := map[string]string{"gemma3": "gemma3_text", "gemma4_unified": "gemma4_unified_text"}[whole.ModelType]
	if !nested {
		return c, json.Unmarshal(data, &c)
	}
	if whole.Text == nil {
		return c, fmt.Errorf("text_config is missing")
	}
	if _, ok := whole.Text["model_type"]; !ok {
		whole.Text["model_type"], _ = json.Marshal(inner)
	}
	if _, ok := whole.Text["tie_word_embeddings"]; !ok && whole.Tied != nil {
		whole.Text["tie_word_embeddings"] = whole.Tied
	}
	if data, err = json.Marshal(whole.Text); err != nil {
		return c, err
	}
	return c, json.Unmarshal(data, &c)
}
