package chat

import (
	"fmt"
	"strings"
)

// checkWords refuses a rendered text that lacks what a message says: a template that
// drops it would leave the model without the question.
func (e *Encoder) checkWords(rendered string, messages []Message, o Options) error {
	at := 0
	for i, m := range messages {
		words := spoken(m)
		if words == "" {
			continue
		}
		if found := strings.Index(rendered[at:], words); found >= 0 {
			at += found + len(words)
			continue
		}
		kept, err := e.keeps(messages, i, o)
		if err != nil {
			return err
		}
		if !kept {
			return &TemplateError{fmt.Sprintf("it leaves out what message %d, the %s's, says (%.40q): the model would not see it", i+1, m.Role, words)}
		}
	}
	return nil
}

// spoken is the part of a message that a template must keep: an assistant's reasoning
// may be left out.
func spoken(m Message) string {
	text := strings.ToValidUTF8(m.Content, "\uFFFD")
	if m.Role == "assistant" {
		if at := strings.LastIndex(text, endOfThought); at >= 0 {
			text = text[at+len(endOfThought):]
		}
	}
	return strings.TrimSpace(text)
}

// keeps says whether a template that changes a message's words, or puts messages in
// another order, still has those words whole: marks around them come through.
func (e *Encoder) keeps(messages []Message, i int, o Options) (bool, error) {
	m := newMarks(e.template.source, messages)
	marked := append([]Message(nil), messages...)
	words := spoken(messages[i])
	before, after, _ := strings.Cut(strings.ToValidUTF8(messages[i].Content, "\uFFFD"), words)
	marked[i].Content = before + string(m.plainOpen) + words + string(m.plainClose) + after
	text, err := e.template.Render(marked, o)
	open, end := strings.IndexRune(text, m.plainOpen), strings.IndexRune(text, m.plainClose)
	return open >= 0 && end > open, err
}
