package vlm

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"patchwork/nn"
)

// RoPEScaling changes RoPE's frequencies to extend the context (transformers,
// modeling_rope_utils.py).
type RoPEScaling struct {
	Type            string // "linear", "llama3", "yarn", or "frequency_factors" of a GGUF file
	Factor          float64
	OriginalContext int // tokens before the context was extended

	LowFreqFactor, HighFreqFactor float64 // llama3

	BetaFast, BetaSlow float64 // yarn: rotations within the original context
	AttentionFactor    float64 // yarn: multiplies cosines and sines
	NoTruncate         bool    // yarn: the bounds are not rounded to whole dimensions

	Factors []float64 // frequency_factors: the divisor of each frequency
	Partial float64   // proportional: the fraction of the pairs of dimensions that are rotated
}

// frequencies returns RoPE's angle per position for each pair of dimensions of a head, and the
// factor of cosines and sines.
func frequencies(headDim int, theta float64, s *RoPEScaling) (angles []float64, scale float64) {
	angles = nn.RoPEFrequencies(headDim, theta)
	if s == nil {
		return angles, 1
	}
	switch s.Type {
	case "linear":
		for i := range angles {
			angles[i] /= s.Factor
		}
	case "llama3":
		for i := range angles {
			angles[i] /= s.Llama3Factor(angles[i])
		}
	case "frequency_factors":
		for i := range angles {
			angles[i] /= s.Factors[i]
		}
	case "yarn":
		s.yarn(angles, theta)
		return angles, s.AttentionFactor
	case "proportional":
		clear(angles[int(s.Partial*float64(len(angles))):])
	}
	return angles, 1
}

// UnturnedFactor is the divisor of frequencies that proportional RoPE sets to 0, in GGUF files.
const UnturnedFactor = 1e30

// FrequencyFactors are the divisors of the frequencies [head size / 2], where they are all that
// scaling does but for linear scaling; nil for others.
func (c *TextConfig) FrequencyFactors() []float32 {
	s := c.RopeScaling
	if s == nil || s.Type != "llama3" && s.Type != "frequency_factors" && s.Type != "proportional" {
		return nil
	}
	headDim := c.globalHeadDim()
	plain := nn.RoPEFrequencies(headDim, c.RopeTheta)
	scaled, _ := frequencies(headDim, c.RopeTheta, s)
	factors := make([]float32, len(plain))
	for i := range factors {
		factors[i] = UnturnedFactor
		if scaled[i] != 0 {
			factors[i] = float32(plain[i] / scaled[i])
		}
	}
	return factors
}

// Llama3Factor returns the divisor of a frequency in Llama 3.1: 1 for frequencies with many
// rotations within the original context, Factor for those with few, interpolated in between.
func (s *RoPEScaling) Llama3Factor(frequency float64) float64 {
	turns := float64(s.OriginalContext) * frequency / (2 * math.Pi)
	switch {
	case turns > s.HighFreqFactor:
		return 1
	case turns < s.LowFreqFactor:
		return s.Factor
	}
	smooth := (turns - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
	return 1 / ((1-smooth)/s.Factor + smooth)
}

// yarn divides low frequencies by Factor, keeps high ones, and interpolates between them
// (Peng et al., "YaRN", 2023).
func (s *RoPEScaling) yarn(angles []float64, theta float64) {
	dim := float64(2 * len(angles))
	bound := func(turns float64) float64 {
		return dim * math.Log(float64(s.OriginalContext)/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := bound(s.BetaFast), bound(s.BetaSlow)
	if !s.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dim-1)
	if low == high {
		high += 0.001 // keeps the slope finite, as in transformers
	}
	for i := range angles {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		angles[i] = angles[i]/s.Factor*ramp + angles[i]*(1-ramp)
	}
}

// ropeFields are RoPE's settings in config.json: rope_parameters since transformers 5,
// rope_theta and rope_scaling before.
type ropeFields struct {
	RopeTheta           *float64                   `json:"rope_theta"`
	RopeScaling         map[string]json.RawMessage `json:"rope_scaling"`
	RopeParameters      map[string]json.RawMessage `json:"rope_parameters"`
	PartialRotaryFactor *float64                   `json:"partial_rotary_factor"`
	OriginalContext     *int                       `json:"original_max_position_embeddings"`
}

// ropeKeys are the settings that each type has besides rope_type, type, rope_theta and
// partial_rotary_factor.
var ropeKeys = map[string][]string{
	"default": {"factor"},
	"linear":  {"factor"},
	"dynamic": {"factor", "original_max_position_embeddings"},
	"llama3":  {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
	"yarn": {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
		"truncate"},
	"frequency_factors": {"factors"},
	"proportional":      {"factor"},
}

// rope parses the settings; scaling is nil if they change nothing within the context.
func (f *ropeFields) rope(c *TextConfig, headDim int) (theta float64, scaling *RoPEScaling, err error) {
	where, all := "rope_scaling", f.RopeScaling
	if len(all) == 0 {
		where, all = "rope_parameters", f.RopeParameters
	}
	var s struct {
		RopeType, Type                              *string
		Theta, Partial, Factor, Low, High           *float64
		Fast, Slow, Attention, MScale, MScaleAllDim *float64
		Original                                    *int
		Truncate                                    *bool
		Factors                                     []float64
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		into, known := map[string]any{
			"rope_type": &s.RopeType, "type": &s.Type, "rope_theta": &s.Theta, "partial_rotary_factor": &s.Partial, "factor": &s.Factor,
			"low_freq_factor": &s.Low, "high_freq_factor": &s.High, "beta_fast": &s.Fast, "beta_slow": &s.Slow,
			"attention_factor": &s.Attention, "mscale": &s.MScale, "mscale_all_dim": &s.MScaleAllDim,
			"original_max_position_embeddings": &s.Original, "truncate": &s.Truncate, "factors": &s.Factors,
		}[key]
		if !known {
			if isNeutral(key, all[key], headDim) {
				continue
			}
			return 0, nil, fmt.Errorf("text_config: %s: %.60q is not supported", where, key)
		}
		if err := json.Unmarshal(all[key], into); err != nil {
			return 0, nil, fmt.Errorf("text_config: %s: %s is %.60s, which is not valid", where, key, Compact(all[key]))
		}
	}
	number := func(p *float64, otherwise float64) float64 {
		if p == nil {
			return otherwise
		}
		return *p
	}
	kind := "default"
	if s.RopeType != nil {
		kind = *s.RopeType
	} else if s.Type != nil {
		kind = *s.Type
	}
	keys, known := ropeKeys[kind]
	if !known {
		return 0, nil, fmt.Errorf("text_config: %s: rope_type %.40q is not supported; default, linear, llama3 and yarn are", where, kind)
	}
	for key := range all {
		switch key {
		case "rope_type", "type", "rope_theta", "partial_rotary_factor":
			continue
		}
		if !slices.Contains(keys, key) && !isNeutral(key, all[key], headDim) {
			return 0, nil, fmt.Errorf("text_config: %s: %s has no meaning for rope_type %q", where, key, kind)
		}
	}
	theta = number(s.Theta, number(f.RopeTheta, 1e4))
	partial := number(s.Partial, number(f.PartialRotaryFactor, 1))
	if partial != 1 && kind != "proportional" {
		return 0, nil, fmt.Errorf("text_config: partial_rotary_factor is %g; only 1 is supported", partial)
	}
	if !(theta > 0) || math.IsInf(theta, 0) {
		return 0, nil, fmt.Errorf("text_config: rope_theta must be above 0")
	}
	original := c.MaxPositionEmbeddings
	if s.Original != nil {
		original = *s.Original
	}
	if f.OriginalContext != nil { // takes precedence in transformers
		original = *f.OriginalContext
	}
	out := &RoPEScaling{
		Type: kind, Factor: number(s.Factor, math.NaN()), OriginalContext: original,
		LowFreqFactor: number(s.Low, math.NaN()), HighFreqFactor: number(s.High, math.NaN()),
		BetaFast: number(s.Fast, 32), BetaSlow: number(s.Slow, 1), NoTruncate: s.Truncate != nil && !*s.Truncate, Factors: s.Factors, Partial: partial,
	}
	if kind == "yarn" {
		out.completeYarn(c.MaxPositionEmbeddings, s.Attention, number(s.MScale, 0), number(s.MScaleAllDim, 0))
	}
	if err := out.check(headDim); err != nil {
		return 0, nil, fmt.Errorf("text_config: %s: %w", where, err)
	}
	if kind == "default" || kind == "dynamic" || (kind == "linear" || kind == "llama3") && out.Factor == 1 {
		return theta, nil, nil // dynamic scaling starts beyond max_position_embeddings
	}
	return theta, out, nil
}

// completeYarn computes the settings that are missing.
func (s *RoPEScaling) completeYarn(context int, attention *float64, mscale, mscaleAllDim float64) {
	if math.IsNaN(s.Factor) && s.OriginalContext > 0 {
		s.Factor = float64(context) / float64(s.OriginalContext)
	}
	if s.BetaFast == 0 {
		s.BetaFast = 32
	}
	if s.BetaSlow == 0 {
		s.BetaSlow = 1
	}
	of := func(mscale float64) float64 {
		if s.Factor <= 1 {
			return 1
		}
		return 0.1*mscale*math.Log(s.Factor) + 1
	}
	switch {
	case attention != nil:
		s.AttentionFactor = *attention
	case mscale != 0 && mscaleAllDim != 0:
		s.AttentionFactor = of(mscale) / of(mscaleAllDim)
	default:
		s.AttentionFactor = of(1)
	}
}

func (s *RoPEScaling) check(headDim int) error {
	finite := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case s.Type == "default":
		if !math.IsNaN(s.Factor) && s.Factor != 1 {
			return fmt.Errorf("rope_type default has a factor of %g, want none", s.Factor)
		}
		return nil
	case s.Type == "proportional":
		if !(s.Partial > 0) || s.Partial > 1 || !math.IsNaN(s.Factor) && s.Factor != 1 {
			return fmt.Errorf("rope_type proportional has partial_rotary_factor %g and factor %g; want one above 0 and up to 1, and a factor of 1", s.Partial, s.Factor)
		}
		return nil
	case s.Type == "frequency_factors":
		if len(s.Factors) != headDim/2 || slices.ContainsFunc(s.Factors, func(x float64) bool { return !finite(x) }) {
			return fmt.Errorf("%d factors, want one above 0 for each of %d frequencies", len(s.Factors), headDim/2)
		}
		return nil
	case !finite(s.Factor):
		return fmt.Errorf("factor is missing or not above 0")
	case s.Type == "llama3" && (!finite(s.LowFreqFactor) || !(s.HighFreqFactor > s.LowFreqFactor) || s.OriginalContext < 1):
		return fmt.Errorf("low_freq_factor, high_freq_factor or original_max_position_embeddings is missing or invalid")
	case s.Type == "yarn" && (!finite(s.BetaFast) || !finite(s.BetaSlow) || !finite(s.AttentionFactor) || s.OriginalContext < 1):
		return fmt.Errorf("beta_fast, beta_slow, attention_factor or original_max_position_embeddings is missing or invalid")
	}
	return nil
}

// Matches reports whether the Llama 3 settings give these factors, up to rounding in a file.
func (s *RoPEScaling) Matches(factors []float32, headDim int, theta float64) bool {
	for i, want := range factors {
		got := s.Llama3Factor(math.Pow(theta, -2*float64(i)/float64(headDim)))
		if math.Abs(got-float64(want)) > 1e-5*got {
			return false
		}
	}
	return true
}
