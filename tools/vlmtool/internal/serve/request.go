package serve

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"

	"patchwork/vlm/generate"
	"patchwork/vlm/grammar"
	"patchwork/vlm/serve"
)

// Limits of parameters.
const (
	maxChoices  = 16
	maxStops    = 4
	maxStopSize = 1024 // bytes
	maxTop      = 20   // of top_logprobs
	maxPenalty  = 2
	maxBias     = 100
	maxBiases   = 1024
)

// parameters are those that chat and text completions have in common.
type parameters struct {
	Model             *string            `json:"model"`
	MaxTokens         *int               `json:"max_tokens"`
	Temperature       *float64           `json:"temperature"`
	TopP              *float64           `json:"top_p"`
	TopK              *int               `json:"top_k"`
	Seed              *int64             `json:"seed"`
	Stop              json.RawMessage    `json:"stop"`
	N                 *int               `json:"n"`
	Stream            *bool              `json:"stream"`
	StreamOptions     *streamOptions     `json:"stream_options"`
	PresencePenalty   *float64           `json:"presence_penalty"`
	FrequencyPenalty  *float64           `json:"frequency_penalty"`
	RepetitionPenalty *float64           `json:"repetition_penalty"`
	LogitBias         map[string]float64 `json:"logit_bias"`
	User              *string            `json:"user"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// between returns an error unless a parameter is absent or in a range.
func between[T int | float64](param string, v *T, lo, hi T) error {
	if v == nil || *v >= lo && *v <= hi {
		return nil
	}
	return invalid(param, "Invalid '%s': %v is not between %v and %v.", param, *v, lo, hi).withCode("invalid_value")
}

// check checks the ranges.
func (p *parameters) check() error {
	for _, err := range []error{
		between("max_tokens", p.MaxTokens, 1, math.MaxInt32), between("temperature", p.Temperature, 0, 2), between("top_k", p.TopK, 0, math.MaxInt32),
		between("n", p.N, 1, maxChoices), between("presence_penalty", p.PresencePenalty, -maxPenalty, maxPenalty),
		between("frequency_penalty", p.FrequencyPenalty, -maxPenalty, maxPenalty), between("top_p", p.TopP, 0, 1),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case value(p.RepetitionPenalty, 1) <= 0:
		return invalid("repetition_penalty", "Invalid 'repetition_penalty': it must be above 0.").withCode("invalid_value")
	case p.StreamOptions != nil && !value(p.Stream, false):
		return invalid("stream_options", "'stream_options' is only allowed when 'stream' is true.")
	}
	return nil
}

// request is the scheduler's request without a prompt.
func (p *parameters) request(vocabulary int) (serve.Request, error) {
	r := serve.Request{Choices: value(p.N, 1), MaxNewTokens: value(p.MaxTokens, 0), Bias: map[int32]float32{}}
	r.Sampling = generate.Sampling{
		Temperature: value(p.Temperature, 1), TopP: value(p.TopP, 1), TopK: value(p.TopK, 0), RepetitionPenalty: value(p.RepetitionPenalty, 1),
		PresencePenalty: value(p.PresencePenalty, 0), FrequencyPenalty: value(p.FrequencyPenalty, 0), Seed: rand.Uint64(),
	}
	if r.Sampling.TopP == 0 { // only the most likely token
		r.Sampling.TopP, r.Sampling.TopK = 1, 1
	}
	if p.Seed != nil {
		r.Sampling.Seed = uint64(*p.Seed)
	}
	if len(p.LogitBias) > maxBiases {
		return r, invalid("logit_bias", "Invalid 'logit_bias': more than %d tokens.", maxBiases)
	}
	for name, bias := range p.LogitBias {
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil || id < 0 || int(id) >= vocabulary || !(math.Abs(bias) <= maxBias) {
			return r, invalid("logit_bias", "Invalid 'logit_bias': %.40q: %v; want ids of tokens below %d and values from -%d to %d.", name, bias, vocabulary, maxBias, maxBias)
		}
		r.Bias[int32(id)] = float32(bias)
	}
	var err error
	r.Stop, err = stops(p.Stop)
	return r, err
}

// stops reads a text or up to four.
func stops(raw json.RawMessage) ([]string, error) {
	if absent(raw) {
		return nil, nil
	}
	var one string
	var all []string
	if json.Unmarshal(raw, &one) == nil {
		all = []string{one}
	} else if json.Unmarshal(raw, &all) != nil {
		return nil, invalid("stop", "Invalid type for 'stop': expected a string or an array of strings.").withCode("invalid_type")
	}
	if len(all) > maxStops {
		return nil, invalid("stop", "Invalid 'stop': %d texts are given, at most %d are taken.", len(all), maxStops).withCode("array_above_max_length")
	}
	for _, text := range all {
		if text == "" || len(text) > maxStopSize {
			return nil, invalid("stop", "Invalid 'stop': a text has %d bytes, want 1 to %d.", len(text), maxStopSize).withCode("invalid_value")
		}
	}
	return all, nil
}

// responseFormat is the form of an answer.
type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// constraint returns what limits the tokens of an answer; nil: nothing.
func (s *server) constraint(f *responseFormat) (func() generate.Constraint, error) {
	if f == nil {
		return nil, nil
	}
	g := grammar.Object()
	switch f.Type {
	case "text":
		return nil, nil
	case "json_object":
	case "json_schema":
		if f.JSONSchema == nil || absent(f.JSONSchema.Schema) {
			return nil, invalid("response_format.json_schema", "Missing required parameter: 'response_format.json_schema.schema'.").withCode("missing_required_parameter")
		}
		var err error
		if g, err = grammar.Compile(f.JSONSchema.Schema); err != nil {
			return nil, invalid("response_format.json_schema.schema", "Invalid schema: %v", err).withCode("invalid_json_schema")
		}
	default:
		return nil, invalid("response_format.type", "Invalid value: %.40q. Supported values are: 'text', 'json_object', and 'json_schema'.", f.Type).withCode("invalid_value")
	}
	v := s.vocabulary()
	return func() generate.Constraint { return g.Over(v) }, nil
}
