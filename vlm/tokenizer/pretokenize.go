package tokenizer

import (
	"encoding/json"
	"regexp"

	"github.com/dlclark/regexp2"
)

// stage cuts a text into neighbouring pieces that together are the whole text.
type stage func(text string, yield func(lo, hi int))

// splitAll cuts text by the stages, each cutting the pieces of the one before.
func splitAll(stages []stage, text string, base int, yield func(lo, hi int)) {
	if len(stages) == 0 {
		yield(base, base+len(text))
		return
	}
	stages[0](text, func(lo, hi int) { splitAll(stages[1:], text[lo:hi], base+lo, yield) })
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
	stages, byteLevel, err := parseStages(raw)
	if err == nil && !byteLevel {
		err = &UnsupportedError{"a pre-tokenizer without ByteLevel"}
	}
	return stages, err
}

func parseStages(raw json.RawMessage) (stages []stage, byteLevel bool, err error) {
	var p preTokenizer
	if isNull(raw) {
		return nil, false, nil
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
			more, last, err := parseStages(part)
			if err != nil {
				return nil, false, err
			}
			stages, byteLevel = append(stages, more...), last
		}
		return stages, byteLevel, nil
	case "Digits":
		if p.IndividualDigits {
			return []stage{eachNumeral}, false, nil
		}
		return []stage{numerals}, false, nil
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
		return matches(regexp.QuoteMeta(*p.Pattern.String))
	case p.Pattern.Regex == nil:
		return nil, &FormatError{"Split has no pattern"}
	case *p.Pattern.Regex == gpt2Pattern:
		return scan(gpt2Next), nil
	case *p.Pattern.Regex == qwenPattern:
		return scan(qwenNext), nil
	case *p.Pattern.Regex == llamaPattern:
		return scan(llamaNext), nil
	}
	return matches(*p.Pattern.Regex)
}

// matches cuts out every match of any other pattern; it is slow. Where the pattern
// gives up, the rest of the text is one piece.
func matches(pattern string) (stage, error) {
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, &UnsupportedError{"Split by /" + pattern + "/ (" + err.Error() + ")"}
	}
	return func(text string, yield func(lo, hi int)) {
		offsets := make([]int, 0, len(text)+1) // of each rune: regexp2 counts in runes
		for at := range text {
			offsets = append(offsets, at)
		}
		offsets = append(offsets, len(text))
		done := 0
		for m, err := re.FindStringMatch(text); m != nil && err == nil; m, err = re.FindNextMatch(m) {
			lo, hi := offsets[m.Index], offsets[m.Index+m.Length]
			if done < lo {
				yield(done, lo)
			}
			if lo < hi {
				yield(lo, hi)
			}
			done = hi
		}
		if done < len(text) {
			yield(done, len(text))
		}
	}, nil
}
