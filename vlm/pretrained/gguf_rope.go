package pretrained

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"patchwork/nn/gguf"
	"patchwork/vlm"
)

// ropeFactors is the tensor of divisors of the RoPE frequencies.
const ropeFactors = "rope_freqs.weight"

// ggufRope makes rope_scaling of config.json from the metadata; nil = none (llama.cpp,
// llama-model.cpp, load_hparams, and ggml's rope_yarn).
func ggufRope(f *gguf.File, arch string, context, headDim int, theta float64) (map[string]any, error) {
	m := f.Metadata
	number := func(name string, otherwise float64) float64 {
		if x, ok := m.Float(arch + "." + name); ok {
			return shortestDecimal(x)
		}
		if n, ok := m.Int(arch + "." + name); ok {
			return float64(n)
		}
		return otherwise
	}
	factor := number("rope.scaling.factor", number("rope.scale_linear", 0))
	if factor == 0 {
		factor = 1
	}
	original := int(number("rope.scaling.original_context_length", float64(context)))
	kind, ok := m.Text(arch + ".rope.scaling.type")
	if !ok {
		kind = "linear"
	}
	if _, ok := f.Tensor(ropeFactors); ok {
		if factor != 1 && kind != "none" {
			return nil, fmt.Errorf("RoPE is scaled twice, by %s.rope.scaling and by tensor %q, which is not supported", arch, ropeFactors)
		}
		return ggufFactors(f, original, headDim, theta)
	}
	switch kind {
	case "none":
		return nil, nil
	case "linear":
		if factor == 1 {
			return nil, nil
		}
		return map[string]any{"rope_type": "linear", "factor": factor}, nil
	case "yarn":
		out := map[string]any{
			"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
			"beta_fast": number("rope.scaling.yarn_beta_fast", 32), "beta_slow": number("rope.scaling.yarn_beta_slow", 1),
		}
		if ext := number("rope.scaling.yarn_ext_factor", 1); ext != 1 && ext != -1 || number("rope.scaling.yarn_log_multiplier", 0) != 0 {
			return nil, fmt.Errorf("%s.rope.scaling.yarn_ext_factor or yarn_log_multiplier is not supported", arch)
		}
		if attention := number("rope.scaling.attn_factor", number("rope.scaling.yarn_attn_factor", 1)); attention != 1 {
			out["attention_factor"] = attention * (1 + 0.1*math.Log(factor))
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s.rope.scaling.type %.40q is not supported; none, linear and yarn are", arch, kind)
}

// ggufFactors reads the divisors and recovers the Llama 3 settings that they were computed from,
// if possible, so that transformers can read an export.
func ggufFactors(f *gguf.File, context, headDim int, theta float64) (map[string]any, error) {
	t, _ := f.Tensor(ropeFactors)
	if t.Size() != headDim/2 {
		return nil, fmt.Errorf("tensor %q has %d values, want %d", ropeFactors, t.Size(), headDim/2)
	}
	factors := make([]float32, headDim/2)
	if err := f.Read(ropeFactors, 0, factors); err != nil {
		return nil, err
	}
	largest := slices.Max(factors)
	if largest == 1 && slices.Min(factors) == 1 {
		return nil, nil
	}
	if turned := slices.Index(factors, vlm.UnturnedFactor); turned > 0 && isProportional(factors, turned) {
		return map[string]any{"rope_type": "proportional", "partial_rotary_factor": float64(turned) / float64(len(factors))}, nil
	}
	for _, original := range []int{8192, 4096, 16384, 32768, context} {
		s := vlm.RoPEScaling{Type: "llama3", Factor: float64(largest), OriginalContext: original, LowFreqFactor: 1, HighFreqFactor: 4}
		if s.Matches(factors, headDim, theta) {
			return map[string]any{
				"rope_type": "llama3", "factor": s.Factor, "original_max_position_embeddings": original, "low_freq_factor": 1, "high_freq_factor": 4,
			}, nil
		}
	}
	return map[string]any{"rope_type": "frequency_factors", "factors": factors}, nil
}

// isProportional reports whether the first divisors are 1 and all others those of frequencies of 0.
func isProportional(factors []float32, turned int) bool {
	for i, f := range factors {
		if want := float32(vlm.UnturnedFactor); i < turned && f != 1 || i >= turned && f != want {
			return false
		}
	}
	return true
}

var (
	// significantGGUFKeys match settings that change what a decoder computes.
	significantGGUFKeys = regexp.MustCompile(`rope|scal|window|softcap|norm|clamp|sink|parallel_residual|alibi`)
	// supportedGGUFKeys match those of them that are read or are always true.
	supportedGGUFKeys = regexp.MustCompile(`^(rope\.(freq_base|dimension_count|scale_linear|scaling\.(type|factor|original_context_length|finetuned|attn_factor|yarn_.*))|attention\.layer_norm(_rms)?_epsilon)$`)
)

// gemmaGGUFKeys match those of Gemma's that are read.
var gemmaGGUFKeys = regexp.MustCompile(`^(attention\.sliding_window(_pattern)?|rope\.(freq_base_swa|dimension_count_swa)|final_logit_softcapping)$`)

// checkGGUFKeys returns an error for a significant setting that is not read, unless its value is
// neutral.
func checkGGUFKeys(m gguf.Metadata, c vlm.TextConfig) error {
	for _, key := range m.Keys() {
		name, found := strings.CutPrefix(key, archOf(c.ModelType)+".")
		if !found || !significantGGUFKeys.MatchString(name) || supportedGGUFKeys.MatchString(name) || isGemma(c.ModelType) && gemmaGGUFKeys.MatchString(name) {
			continue
		}
		if n, ok := m.Int(key); ok && (n == 0 || strings.HasSuffix(name, "sliding_window") && n >= c.MaxPositionEmbeddings) {
			continue
		}
		x, isFloat := m.Float(key)
		on, isBool := m.Bool(key)
		switch {
		case isFloat && (x == 0 || x == 1 && strings.HasSuffix(name, "_scale")):
		case isBool && !on:
		default:
			return fmt.Errorf("metadata key %.60q is %s, which is not supported for a %s decoder", key, formatValue(m.Value(key)), c.ModelType)
		}
	}
	return nil
}
