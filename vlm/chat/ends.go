package chat

import (
	"slices"
	"strings"
)

// AnswerEnds returns the ids of the tokens that the template writes after an answer; the
// one after a conversation's last answer comes first. It is empty if there are none, or no
// template.
func (e *Encoder) AnswerEnds() []int32 { return slices.Clone(e.ends) }

// findEnds finds the end tokens by rendering conversations of one and two turns. Some
// templates end the last answer with another token than earlier ones.
func (e *Encoder) findEnds() []int32 {
	if e.template.Empty() {
		return nil
	}
	var out []int32
	add := func(tail string, ok bool) {
		if token, at := e.firstToken(tail); ok && at >= 0 && !slices.Contains(out, e.addedID(token)) {
			out = append(out, e.addedID(token))
		}
	}
	add(e.lastTail())
	add(e.middleTail(out))
	return out
}

// lastTail returns the text after the answer of a conversation of one turn.
func (e *Encoder) lastTail() (tail string, ok bool) {
	m, text, ok := e.renderProbe(1)
	if !ok {
		return "", false
	}
	_, tail, ok = strings.Cut(text, string(m.answerClose))
	return tail, ok
}

// middleTail returns the text between an answer and the next question. ok is false if its
// only token is the header of the question.
func (e *Encoder) middleTail(last []int32) (tail string, ok bool) {
	m, text, ok := e.renderProbe(2)
	if !ok {
		return "", false
	}
	before, _, _ := strings.Cut(text, string(m.plainOpen))
	_, rest, ok := strings.Cut(text, string(m.answerClose))
	if !ok {
		return "", false
	}
	tail, _, ok = strings.Cut(rest, string(m.plainOpen))
	token, at := e.firstToken(tail)
	if !ok || at < 0 {
		return "", false
	}
	known := slices.Contains(last, e.addedID(token))
	_, second := e.firstToken(tail[at+len(token):])
	opens := second < 0 && e.lastToken(before) == token
	return tail, known || !opens
}

// renderProbe renders a conversation of the given number of turns with markers around its
// contents.
func (e *Encoder) renderProbe(turns int) (m spanMarkers, text string, ok bool) {
	m = newSpanMarkers(e.template.source, nil)
	var messages []Message
	for range turns {
		messages = append(messages,
			Message{Role: "user", Content: string(m.plainOpen) + "x" + string(m.plainClose)},
			Message{Role: "assistant", Content: string(m.answerOpen) + "x" + string(m.answerClose)})
	}
	text, err := e.template.Render(messages, Options{})
	if err != nil { // some templates require a system message
		text, err = e.template.Render(append([]Message{{Role: "system", Content: "x"}}, messages...), Options{})
	}
	return m, text, err == nil
}

// firstToken returns the first added token in a text, the longest one at that offset. at is
// -1 if there is none.
func (e *Encoder) firstToken(text string) (token string, at int) {
	at = -1
	for _, one := range e.added {
		if i := strings.Index(text, one); i >= 0 && (at < 0 || i < at || i == at && len(one) > len(token)) {
			token, at = one, i
		}
	}
	return token, at
}

func (e *Encoder) lastToken(text string) string {
	last := ""
	for {
		token, at := e.firstToken(text)
		if at < 0 {
			return last
		}
		last, text = token, text[at+len(token):]
	}
}

func (e *Encoder) addedID(token string) int32 {
	id, _ := e.tokenizer.ID(token)
	return id
}

// endAfter returns the offset after the end token that follows an answer ending at hi, or
// hi if there is no end token before limit, the next message's content.
func (e *Encoder) endAfter(text string, hi, limit int) int {
	token, at := e.firstToken(text[hi:limit])
	if at >= 0 && slices.Contains(e.ends, e.addedID(token)) {
		return hi + at + len(token)
	}
	return hi
}
