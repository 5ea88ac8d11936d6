package chat

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/vlm/tokenizer"
)

// words are the messages' in a rendered text.
type contentSpans struct {
	kept   []bool // by message: they came through whole
	starts []int  // where they begin, in order; a template may write some twice
}

// check refuses a rendered text that lacks what a message says: a template that drops it
// would leave the model without the question.
func (w contentSpans) check(messages []Message) error {
	for i, m := range messages {
		if requiredText(m) != "" && !w.kept[i] {
			return droppedError(messages, i)
		}
	}
	return nil
}

// next is where the next words begin from a place on, and otherwise the end.
func (w contentSpans) next(from, end int) int {
	if i, _ := slices.BinarySearch(w.starts, from); i < len(w.starts) {
		return w.starts[i]
	}
	return end
}

func droppedError(messages []Message, i int) error {
	m := messages[i]
	return &TemplateError{fmt.Sprintf("it leaves out what message %d, the %s's, says (%.40q): the model would not see it", i+1, m.Role, requiredText(m))}
}

// spoken is the part of a message that a template must keep: an assistant's reasoning
// may be left out.
func requiredText(m Message) string {
	text := m.Content
	if m.Role == "assistant" {
		if at := strings.LastIndex(text, endOfThought); at >= 0 {
			text = text[at+len(endOfThought):]
		}
	}
	return strings.TrimSpace(text)
}

// find looks for the messages' words in a text that was rendered without marks, one
// behind the other. Where they could stand in more than one place, or a template has
// changed them, nobody can tell what is an answer and what a user wrote.
func (e *Encoder) locateContents(text string, messages []Message) (pieces []tokenizer.Piece, answers []span, said contentSpans, err error) {
	first, ok := findContents(text, messages, false)
	if !ok {
		return nil, nil, said, e.missingContent(text, messages)
	}
	if last, _ := findContents(text, messages, true); !slices.Equal(first, last) && e.needsSpans(messages) {
		return nil, nil, said, &TemplateError{"it computes with a message's text, and where that stands in the prompt cannot be told"}
	}
	at := 0
	for i, s := range first {
		if s.lo == s.hi {
			continue
		}
		pieces = append(pieces, tokenizer.Piece{Text: text[at:s.lo], Trusted: true}, tokenizer.Piece{Text: text[s.lo:s.hi]})
		at, said.starts = s.hi, append(said.starts, s.lo)
		if messages[i].Role == "assistant" {
			answers = append(answers, s)
		}
	}
	return append(pieces, tokenizer.Piece{Text: text[at:], Trusted: true}), answers, said, nil
}

// matters says whether it makes a difference where the words stand: there are answers,
// or names of special tokens in what somebody wrote.
func (e *Encoder) needsSpans(messages []Message) bool {
	return slices.ContainsFunc(messages, func(m Message) bool {
		return m.Role == "assistant" || slices.ContainsFunc(e.specials, func(name string) bool {
			return strings.Contains(m.Content, name) || strings.Contains(m.Reasoning, name)
		})
	})
}

// unfound is the first message whose words are not in the text at all, or else that they
// stand in another order.
func (e *Encoder) missingContent(text string, messages []Message) error {
	for i, m := range messages {
		if !strings.Contains(text, requiredText(m)) {
			return droppedError(messages, i)
		}
	}
	return &TemplateError{"it computes with a message's text and writes the messages in another order, so that nobody can tell which text is whose"}
}

// places are the words of the messages in a text, each behind those before: the first
// places or, with last, the last ones. Empty words have an empty place.
func findContents(text string, messages []Message, last bool) ([]span, bool) {
	out := make([]span, len(messages))
	lo, hi := 0, len(text)
	for k := range messages {
		i := k
		if last {
			i = len(messages) - 1 - k
		}
		words := requiredText(messages[i])
		if words == "" {
			continue
		}
		at := strings.Index(text[lo:hi], words)
		if last {
			at = strings.LastIndex(text[lo:hi], words)
		}
		if at < 0 {
			return nil, false
		}
		at += lo
		if out[i] = (span{at, at + len(words)}); last {
			hi = at
		} else {
			lo = at + len(words)
		}
	}
	return out, true
}
