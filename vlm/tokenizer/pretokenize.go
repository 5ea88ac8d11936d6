package tokenizer

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// stage cuts a text into neighbouring pieces that together are the whole text. The error
// is a *PatternError, or that of yield, which ends it.
type stage func(text string, yield func(lo, hi int) error) error

// splitAll cuts text by the stages, each cutting the pieces of the one before.
func splitAll(stages []stage, text string, base int, yield func(lo, hi int) error) error {
	if len(stages) == 0 {
		return yield(base, base+len(text))
	}
	return stages[0](text, func(lo, hi int) error { return splitAll(stages[1:], text[lo:hi], base+lo, yield) })
}

// The patterns that have a scanner by hand (scan.go).
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

// parsePreTokenizer accepts what ends in ByteLevel.
func parsePreTokenizer(raw json.RawMessage) ([]stage, error) {
	stages, byteLevel, err := parseStages(raw, 0)
	if err == nil && !byteLevel {
		err = &UnsupportedError{"a pre-tokenizer without ByteLevel"}
	}
	return stages, err
}

// deepest bounds sequences in sequences, and mostStages what they come to: every stage cuts
// what the one before has cut. Real pre-tokenizers have one sequence of up to six.
const maxNesting, maxStages = 8, 64

func parseStages(raw json.RawMessage, depth int) (stages []stage, byteLevel bool, err error) {
	var p preTokenizer
	if isNull(raw) {
		return nil, false, nil
	}
	if depth > maxNesting {
		return nil, false, &UnsupportedError{fmt.Sprintf("a pre-tokenizer that is nested more than %d times", maxNesting)}
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
		return nil, &UnsupportedError{"Split other than Isolated"}
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
