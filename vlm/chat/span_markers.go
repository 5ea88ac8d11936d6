package chat

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"patchwork/vlm/tokenizer"
)

// spanMarkers are characters that are inserted into messages before rendering and removed
// from the rendered text, to find the spans of the messages' contents. They occur in no
// message and not in the template.
type spanMarkers struct {
	plainOpen, plainClose, answerOpen, answerClose, contentClose rune

	contentOpen []rune // by message
	all         map[rune]int
}

// newSpanMarkers picks private-use characters that occur in none of the texts.
func newSpanMarkers(template string, messages []Message, texts ...string) spanMarkers {
	used := map[rune]bool{}
	scan := func(text string) {
		for _, r := range text {
			if r >= firstMarker {
				used[r] = true
			}
		}
	}
	scan(template)
	for _, text := range texts {
		scan(text)
	}
	for _, one := range messages {
		scan(one.Role)
		scan(one.Content)
		scan(one.Reasoning)
	}
	m := spanMarkers{contentOpen: make([]rune, len(messages)), all: map[rune]int{}}
	next := rune(firstMarker)
	take := func(r *rune, message int) {
		for used[next] {
			next++
		}
		*r, m.all[next] = next, message
		next++
	}
	for _, r := range []*rune{&m.plainOpen, &m.plainClose, &m.answerOpen, &m.answerClose, &m.contentClose} {
		take(r, -1)
	}
	for i := range m.contentOpen {
		take(&m.contentOpen[i], i)
	}
	return m
}

// firstMarker is the start of the private-use planes.
const firstMarker = 0xF0000

// protector returns a replacer that puts markers around names of special tokens.
func (m spanMarkers) protector(specials []string) *strings.Replacer {
	longestFirst := slices.SortedFunc(slices.Values(specials), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, token := range longestFirst {
		pairs = append(pairs, token, string(m.plainOpen)+token+string(m.plainClose))
	}
	return strings.NewReplacer(pairs...)
}

// around puts markers around a message's content. Leading and trailing space stays outside,
// for templates that trim. So does an assistant's reasoning, which some templates drop; for
// those that keep it, another answerOpen precedes it.
func (m spanMarkers) around(i int, role, content string) string {
	text := strings.TrimSpace(content)
	if text == "" {
		return content
	}
	lead, rest, _ := strings.Cut(content, text)
	if role != "assistant" {
		return lead + string(m.contentOpen[i]) + text + string(m.contentClose) + rest
	}
	reasoning := ""
	if at := max(endOf(text, ReasoningClose), endOf(text, ChannelClose)); at > 0 {
		after := strings.TrimLeftFunc(text[at:], unicode.IsSpace)
		reasoning, text = string(m.answerOpen)+text[:len(text)-len(after)], after
	}
	return lead + reasoning + string(m.contentOpen[i]) + string(m.answerOpen) + text + string(m.answerClose) + string(m.contentClose) + rest
}

// endOf returns the offset after the last occurrence of a token in a text, or 0.
func endOf(text, token string) int {
	if at := strings.LastIndex(text, token); at >= 0 {
		return at + len(token)
	}
	return 0
}

// span is the byte range [lo, hi).
type span struct{ lo, hi int }

// split removes the markers from a rendered text. It returns the text in pieces, the spans
// of the answers in the joined pieces, and the contents.
func (m spanMarkers) split(rendered string) (pieces []tokenizer.Piece, answers []span, contents contentSpans) {
	trusted, done, size, open := true, 0, 0, -1
	contents.kept = make([]bool, len(m.contentOpen))
	current := -1 // the message whose content has started
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
		case m.contentClose:
			if current >= 0 {
				contents.kept[current] = true
			}
			current = -1
		default:
			current, contents.starts = m.all[r], append(contents.starts, size)
		}
	}
	flush(len(rendered))
	return pieces, answers, contents
}

func (m spanMarkers) is(r rune) bool {
	_, ok := m.all[r]
	return ok
}
