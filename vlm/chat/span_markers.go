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
type spanMarkers struct {
	plainOpen, plainClose, answerOpen, answerClose, wordsClose rune

	words []rune // before what each message says
	all   map[rune]int
}

// newMarks picks private-use characters that occur in none of the texts.
func newSpanMarkers(template string, messages []Message) spanMarkers {
	used := map[rune]bool{}
	look := func(text string) {
		for _, r := range text {
			if r >= firstMarker {
				used[r] = true
			}
		}
	}
	look(template)
	for _, one := range messages {
		look(one.Role)
		look(one.Content)
		look(one.Reasoning)
	}
	m := spanMarkers{words: make([]rune, len(messages)), all: map[rune]int{}}
	next := rune(firstMarker)
	take := func(r *rune, message int) {
		for used[next] {
			next++
		}
		*r, m.all[next] = next, message
		next++
	}
	for _, r := range []*rune{&m.plainOpen, &m.plainClose, &m.answerOpen, &m.answerClose, &m.wordsClose} {
		take(r, -1)
	}
	for i := range m.words {
		take(&m.words[i], i)
	}
	return m
}

// firstMark begins the private-use planes; what comes behind them is no character, and
// is as good.
const firstMarker = 0xF0000

// protector puts marks around the names of special tokens.
func (m spanMarkers) protector(specials []string) *strings.Replacer {
	longestFirst := slices.SortedFunc(slices.Values(specials), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, token := range longestFirst {
		pairs = append(pairs, token, string(m.plainOpen)+token+string(m.plainClose))
	}
	return strings.NewReplacer(pairs...)
}

// endOfThought ends an assistant's reasoning.
const endOfThought = "</think>"

// around puts marks around what a message says. Spaces at either end stay outside of
// them, for templates that trim; so does an assistant's think block, which some
// templates cut off. A second opening mark stands before it for those that do not.
func (m spanMarkers) around(i int, role, content string) string {
	words := strings.TrimSpace(content)
	if words == "" {
		return content
	}
	lead, rest, _ := strings.Cut(content, words)
	if role != "assistant" {
		return lead + string(m.words[i]) + words + string(m.wordsClose) + rest
	}
	thought := ""
	if at := strings.LastIndex(words, endOfThought); at >= 0 {
		at += len(endOfThought)
		after := strings.TrimLeftFunc(words[at:], unicode.IsSpace)
		thought, words = string(m.answerOpen)+words[:len(words)-len(after)], after
	}
	return lead + thought + string(m.words[i]) + string(m.answerOpen) + words + string(m.answerClose) + string(m.wordsClose) + rest
}

// span is a range of bytes, half open.
type span struct{ lo, hi int }

// split takes the marks out of a rendered text: its pieces, where the answers are in the
// pieces' joined text, and the messages' words.
func (m spanMarkers) split(rendered string) (pieces []tokenizer.Piece, answers []span, said contentSpans) {
	trusted, done, size, open := true, 0, 0, -1
	said.kept = make([]bool, len(m.words))
	saying := -1 // the message whose words have begun
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
		case m.wordsClose:
			if saying >= 0 {
				said.kept[saying] = true
			}
			saying = -1
		default:
			saying, said.starts = m.all[r], append(said.starts, size)
		}
	}
	flush(len(rendered))
	return pieces, answers, said
}

func (m spanMarkers) is(r rune) bool {
	_, ok := m.all[r]
	return ok
}
