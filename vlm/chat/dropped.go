package chat

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/vlm/tokenizer"
)

// contentSpans describes where a rendered text contains the messages' contents.
type contentSpans struct {
	kept   []bool // by message: the content is complete
	starts []int  // offsets, ascending; a template may write a content more than once
}

// check returns an error if the template dropped the content of a message, for example the
// question.
func (w contentSpans) check(messages []Message) error {
	for i, m := range messages {
		if requiredText(m) != "" && !w.kept[i] {
			return droppedError(messages, i)
		}
	}
	return nil
}

// next returns the offset of the first content at or after from, or end if there is none.
func (w contentSpans) next(from, end int) int {
	if i, _ := slices.BinarySearch(w.starts, from); i < len(w.starts) {
		return w.starts[i]
	}
	return end
}

func droppedError(messages []Message, i int) error {
	m := messages[i]
	return &TemplateError{fmt.Sprintf("it drops the content of message %d by the %s (%.40q), so the model would not see it", i+1, m.Role, requiredText(m))}
}

// requiredText returns the part of a message's content that a template must keep: an
// assistant's reasoning may be dropped.
func requiredText(m Message) string {
	text := m.Content
	if m.Role == "assistant" {
		for _, end := range []string{ReasoningClose, ChannelClose} {
			if at := strings.LastIndex(text, end); at >= 0 {
				text = text[at+len(end):]
			}
		}
	}
	return strings.TrimSpace(text)
}

// locateContents finds the messages' contents, in their order, in a text rendered without
// markers. It is an error if a content is missing, changed by the template, or occurs at
// several possible offsets, so that answers and users' text cannot be told apart.
func (e *Encoder) locateContents(text string, messages []Message) (pieces []tokenizer.Piece, answers []span, contents contentSpans, err error) {
	first, ok := findContents(text, messages, false)
	if !ok {
		return nil, nil, contents, e.missingContent(text, messages)
	}
	if last, _ := findContents(text, messages, true); !slices.Equal(first, last) && e.needsSpans(messages) {
		return nil, nil, contents, &TemplateError{"it computes with a message's text, which occurs more than once in the prompt"}
	}
	at := 0
	for i, s := range first {
		if s.lo == s.hi {
			continue
		}
		pieces = append(pieces, tokenizer.Piece{Text: text[at:s.lo], Trusted: true}, tokenizer.Piece{Text: text[s.lo:s.hi]})
		at, contents.starts = s.hi, append(contents.starts, s.lo)
		if messages[i].Role == "assistant" {
			answers = append(answers, s)
		}
	}
	return append(pieces, tokenizer.Piece{Text: text[at:], Trusted: true}), answers, contents, nil
}

// needsSpans reports whether the contents' offsets matter: there are answers, or contents
// with names of special tokens.
func (e *Encoder) needsSpans(messages []Message) bool {
	return slices.ContainsFunc(messages, func(m Message) bool {
		return m.Role == "assistant" || slices.ContainsFunc(e.specials, func(name string) bool {
			return strings.Contains(m.Content, name) || strings.Contains(m.Reasoning, name)
		})
	})
}

// missingContent returns the error for the first message whose content is not in the text,
// or the error for contents in another order.
func (e *Encoder) missingContent(text string, messages []Message) error {
	for i, m := range messages {
		if !strings.Contains(text, requiredText(m)) {
			return droppedError(messages, i)
		}
	}
	return &TemplateError{"it computes with a message's text and changes the order of the messages, so contents cannot be attributed to them"}
}

// findContents returns the spans of the messages' contents in a text, each after the one
// before: the first possible spans or, with last, the last possible ones. An empty content
// has an empty span.
func findContents(text string, messages []Message, last bool) ([]span, bool) {
	out := make([]span, len(messages))
	lo, hi := 0, len(text)
	for k := range messages {
		i := k
		if last {
			i = len(messages) - 1 - k
		}
		content := requiredText(messages[i])
		if content == "" {
			continue
		}
		at := strings.Index(text[lo:hi], content)
		if last {
			at = strings.LastIndex(text[lo:hi], content)
		}
		if at < 0 {
			return nil, false
		}
		at += lo
		if out[i] = (span{at, at + len(content)}); last {
			hi = at
		} else {
			lo = at + len(content)
		}
	}
	return out, true
}
