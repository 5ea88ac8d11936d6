package tokenizer

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// stage splits a text into consecutive pieces that cover it. The error is a *PatternError,
// or yield's, which stops it.
type stage func(text string, yield func(lo, hi int) error) error

// splitAll applies the stages, each to the pieces of the previous one. base is the offset of
// text.
func splitAll(stages []stage, text string, base int, yield func(lo, hi int) error) error {
	if len(stages) == 0 {
		return yield(base, base+len(text))
	}
	return stages[0](text, func(lo, hi int) error { return splitAll(stages[1:], text[lo:hi], base+lo, yield) })
}

// Patterns with a hand-written scanner (scan.go).
const (
	gpt2Pattern  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llamaPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwenPattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

type preTokenizer struct {
	Type             string            `json:"type"`
	Pretokenizers    []json.RawMessage `json:"pretokenizers"`
	IndividualDigits bool              `json:"individual_digits"`
	AddPrefixSpace   bool              `json:"add_prefix_space"`
	UseRegex         *bool             `json:"use_regex"`
	Behavior         string            `json:"behavior"`
	Invert           bool              `json:"invert"`
	Pattern          struct {
		Regex  *string
		String *string
	} `json:"pattern"`
}

// parsePreTokenizer parses a pre-tokenizer, which must end with ByteLevel.
func parsePreTokenizer(raw json.RawMessage) ([]stage, error) {
	stages, byteLevel, err := parseStages(raw, 0)
	if err == nil && !byteLevel {
		err = &UnsupportedError{"a pre-tokenizer without ByteLevel"}
	}
	return stages, err
}

// maxNesting limits nested sequences, and maxStages their total length. Published
// pre-tokenizers have one sequence of up to six stages.
const maxNesting, maxStages = 8, 64

func parseStages(raw json.RawMessage, depth int) (stages []stage, byteLevel bool, err error) {
	var p preTokenizer
	if isNull(raw) {
		return nil, false, nil
	}
	if depth > maxNesting {
		return nil, false, &UnsupportedError{fmt.Sprintf("a pre-tokenizer nested more than %d levels deep", maxNesting)}
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, false, &FormatError{"pre_tokenizer: " + err.Error()}
	}
	switch p.Type {
	case "Sequence":
		for _, part := range p.Pretokenizers {
			if byteLevel {
				return nil, false, &UnsupportedError{"a pre-tokenizer after ByteLevel"}
			}
			more, last, err := parseStages(part, depth+1)
			if err != nil {
				return nil, false, err
			}
			if stages, byteLevel = append(stages, more...), last; len(stages) > maxStages {
				return nil, false, &UnsupportedError{fmt.Sprintf("a pre-tokenizer of more than %d stages", maxStages)}
			}
		}
		return stages, byteLevel, nil
	case "Digits":
		if p.IndividualDigits {
			return []stage{individualDigits}, false, nil
		}
		return []stage{digitRuns}, false, nil
	case "ByteLevel":
		if p.AddPrefixSpace {
			return nil, false, &UnsupportedError{"ByteLevel with add_prefix_space"}
		}
		if p.UseRegex == nil || *p.UseRegex {
			stages = []stage{scan(gpt2Next)}
		}
		return stages, true, nil
	case "Split":
		s, err := parseSplit(p)
		return []stage{s}, false, err
	}
	return nil, false, &UnsupportedError{"pre-tokenizer " + p.Type}
}

func parseSplit(p preTokenizer) (stage, error) {
	if p.Behavior != "Isolated" || p.Invert {
		return nil, &UnsupportedError{"Split with a behavior other than Isolated, or with invert"}
	}
	switch {
	case p.Pattern.String != nil:
		return patternStage(regexp.QuoteMeta(*p.Pattern.String))
	case p.Pattern.Regex == nil:
		return nil, &FormatError{"Split has no pattern"}
	case *p.Pattern.Regex == gpt2Pattern:
		return scan(gpt2Next), nil
	case *p.Pattern.Regex == qwenPattern:
		return scan(qwenNext), nil
	case *p.Pattern.Regex == llamaPattern:
		return scan(llamaNext), nil
	}
	return patternStage(*p.Pattern.Regex)
}
