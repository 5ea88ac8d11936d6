package serve

import (
	"strings"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// writer makes events of the tokens of one choice. Text that may be the start of a stop text is held
// back.
type writer struct {
	request   *Request
	choice    int
	answer    *Answer
	processor *vlm.Processor
	stream    interface {
		Next(id int32) string
		Flush() string
	}
	filter    chat.ReasoningFilter
	held      string
	tokens    []placed // not in an event yet
	stopped   bool     // at a stop text
	reasoning int      // tokens
}

// placed is a token with the offset in the held text at which it was added.
type placed struct {
	Token
	at int
}

func newWriter(r *Request, choice int, a *Answer, p *vlm.Processor) *writer {
	w := &writer{request: r, choice: choice, answer: a, processor: p}
	if w.stream = p.Tokenizer.NewStream(true); r.Reasoning {
		w.stream = chat.NewAnswerStream(p.Tokenizer)
	}
	return w
}

// token takes a generated token and reports whether the answer goes on.
func (w *writer) token(t generate.Token) bool {
	if w.processor.IsEOS(t.ID) {
		return false
	}
	text, reasoning := w.split(w.stream.Next(t.ID))
	if reasoning {
		w.reasoning++
		w.send(len(w.held))
		w.event(Event{Text: text, Reasoning: true})
		return true
	}
	if w.request.LogProbs {
		w.tokens = append(w.tokens, placed{Token{t, w.processor.Tokenizer.Bytes(t.ID)}, len(w.held)})
	}
	w.add(text)
	return !w.stopped
}

func (w *writer) split(piece string) (text string, reasoning bool) {
	if !w.request.Reasoning {
		return piece, false
	}
	return w.filter.Next(piece)
}

// add adds text of the answer and sends what is no part of a stop text.
func (w *writer) add(text string) {
	w.held += text
	if at := w.stopAt(); at >= 0 {
		w.stopped = true
		w.held = w.held[:at]
		w.send(at)
		w.tokens = nil
		return
	}
	w.send(len(w.held) - w.overlap())
}

// stopAt returns the offset of the first stop text, or -1.
func (w *writer) stopAt() int {
	first := -1
	for _, stop := range w.request.Stop {
		if at := strings.Index(w.held, stop); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// overlap returns the length of the longest end of the held text that starts a stop text.
func (w *writer) overlap() int {
	longest := 0
	for _, stop := range w.request.Stop {
		for n := min(len(stop)-1, len(w.held)); n > longest; n-- {
			if strings.HasSuffix(w.held, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// send sends the first n bytes of the held text with the tokens that start in them.
func (w *writer) send(n int) {
	if n == 0 {
		return
	}
	e := Event{Text: w.held[:n]}
	w.held = w.held[n:]
	var rest []placed
	for _, t := range w.tokens {
		if t.at < n {
			e.Tokens = append(e.Tokens, t.Token)
		} else {
			rest = append(rest, placed{t.Token, t.at - n})
		}
	}
	w.tokens = rest
	w.event(e)
}

// finish sends what is held, and why the answer ended.
func (w *writer) finish(reason string) {
	if !w.stopped {
		if text, reasoning := w.split(w.stream.Flush()); reasoning {
			w.event(Event{Text: text, Reasoning: true})
		} else {
			w.add(text)
		}
	}
	if w.stopped {
		reason = "stop"
	}
	e := Event{Text: w.held, Finish: reason}
	for _, t := range w.tokens {
		e.Tokens = append(e.Tokens, t.Token)
	}
	w.held, w.tokens = "", nil
	w.event(e)
}

func (w *writer) event(e Event) {
	if e.Choice = w.choice; e.Text != "" || e.Finish != "" {
		w.answer.Add(e)
	}
}
