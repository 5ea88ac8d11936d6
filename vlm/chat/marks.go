package chat

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"patchwork/vlm/tokenizer"
)

// marks are characters put into messages before the template renders them and
// taken out of its result, to know again which text is whose. They are ones that
// no message and no template holds.
type marks struct{ plainOpen, plainClose, answerOpen, answerClose rune }

// newMarks picks four private-use characters that occur in none of the texts.
func newMarks(template string, messages []Message) marks {
	var free [4]rune
	n := 0
	for r := rune(0xF0000); n < len(free) && r < unicode.MaxRune; r++ {
		if !occurs(r, template, messages) {
			free[n] = r
			n++
		}
	}
	return marks{free[0], free[1], free[2], free[3]}
}

func occurs(r rune, template string, messages []Message) bool {
	return strings.ContainsRune(template, r) || slices.ContainsFunc(messages, func(m Message) bool {
		return strings.ContainsRune(m.Role, r) || strings.ContainsRune(m.Content, r) || strings.ContainsRune(m.Reasoning, r)
	})
}

// protector puts marks around the names of special tokens.
func (m marks) protector(specials []string) *strings.Replacer {
	longestFirst := slices.SortedFunc(slices.Values(specials), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, token := range longestFirst {
		pairs = append(pairs, token, string(m.plainOpen)+token+string(m.plainClose))
	}
	return strings.NewReplacer(pairs...)
}

// endOfThought ends an assistant's reasoning.
const endOfThought = "</think>"

// answer puts marks around the assistant's words. Spaces at either end stay outside
// of them, for templates that trim; so does a think block, which some templates cut
// off. A second opening mark stands before it for those that do not.
func (m marks) answer(content string) string {
	words := strings.TrimSpace(content)
	if words == "" {
		return content
	}
	lead, rest, _ := strings.Cut(content, words)
	if at := strings.LastIndex(words, endOfThought); at >= 0 {
		at += len(endOfThought)
		after := strings.TrimLeftFunc(words[at:], unicode.IsSpace)
		words = words[:len(words)-len(after)] + string(m.answerOpen) + after
	}
	return lead + string(m.answerOpen) + words + string(m.answerClose) + rest
}

// span is a range of bytes, half open.
type span struct{ lo, hi int }

// split takes the marks out of a rendered text: its pieces, and where the answers
// are in the pieces' joined text.
func (m marks) split(rendered string) (pieces []tokenizer.Piece, answers []span) {
	trusted, done, size, open := true, 0, 0, -1
	flush := func(to int) {
		if done < to {
			pieces = append(pieces, tokenizer.Piece{Text: rendered[done:to], Trusted: trusted})
			size += to - done
		}
	}
	for i, r := range rendered {
		if !m.is(r) {
			continue
		}
		flush(i)
		done = i + utf8.RuneLen(r)
		switch r {
		case m.plainOpen, m.plainClose:
			trusted = r == m.plainClose
		case m.answerOpen:
			if open < 0 {
				open = size
			}
		case m.answerClose:
			if open < 0 {
				open = size
			}
			answers = append(answers, span{open, size})
			open = -1
		}
	}
	flush(len(rendered))
	return pieces, answers
}

func (m marks) is(r rune) bool {
	return r == m.plainOpen || r == m.plainClose || r == m.answerOpen || r == m.answerClose
}
