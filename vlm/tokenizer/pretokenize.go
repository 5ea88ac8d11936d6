package tokenizer

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
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
	linesPattern = `[^\n]+|[\n]+` // Gemma 4 in llama.cpp
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

// maxNesting limits nested sequences, and maxStages their total length. Published
// pre-tokenizers have one sequence of up to six stages.
const maxNesting, maxStages = 8, 64

// parseStages parses a pre-tokenizer. ByteLevel can only be its last stage.
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
	if p.Behavior == mergedWithPrevious && p.Pattern.String != nil && *p.Pattern.String != "" && !p.Invert {
		return splitAfter(*p.Pattern.String), nil
	}
	if p.Behavior != "Isolated" || p.Invert {
		return nil, &UnsupportedError{"Split with a behavior other than Isolated, or with invert,"}
	}
	switch {
	case p.Pattern.String != nil:
		return patternStage(regexp.QuoteMeta(*p.Pattern.String))
	case p.Pattern.Regex != nil && *p.Pattern.Regex == linesPattern:
		return scan(linesNext), nil
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

const mergedWithPrevious = "MergedWithPrevious"

// splitAfter returns a stage that splits after every occurrence of a text. One that directly follows
// another is a piece of its own, as in Hugging Face's tokenizers (normalizer.rs, split).
func splitAfter(pattern string) stage {
	return func(text string, yield func(lo, hi int) error) error {
		for lo := 0; lo < len(text); {
			hi := len(text)
			if at := strings.Index(text[lo:], pattern); at >= 0 {
				hi = lo + at + len(pattern)
			}
			if err := yield(lo, hi); err != nil {
				return err
			}
			lo = hi
		}
		return nil
	}
}

// joined returns the characters that some token has before a space. A text can be split before any
// other space without changing its tokens, and its words are then found in the cache. In Gemma's
// vocabulary only ">" is joined.
func joined(merges []merge, space string) map[rune]bool {
	out := map[rune]bool{}
	for _, m := range merges {
		token := m[0] + m[1]
		for at := range token {
			if before, _ := utf8.DecodeLastRuneInString(token[:at]); at > 0 && strings.HasPrefix(token[at:], space) && !strings.HasSuffix(token[:at], space) {
				out[before] = true
			}
		}
	}
	return out
}

// splitBefore returns a stage that splits before every run of spaces, but not after the characters
// in joined.
func splitBefore(space string, joined map[rune]bool) stage {
	return func(text string, yield func(lo, hi int) error) error {
		lo := 0
		for at := 0; at < len(text); {
			next := strings.Index(text[at:], space)
			if next < 0 {
				break
			}
			at += next
			if before, _ := utf8.DecodeLastRuneInString(text[:at]); at > lo && !joined[before] && !strings.HasSuffix(text[:at], space) {
				if err := yield(lo, at); err != nil {
					return err
				}
				lo = at
			}
			at += len(space)
		}
		if lo == len(text) {
			return nil
		}
		return yield(lo, len(text))
	}
}
