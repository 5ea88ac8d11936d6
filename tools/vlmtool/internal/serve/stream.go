package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"patchwork/vlm/serve"
)

// stream is a response of server-sent events.
type stream struct {
	w    http.ResponseWriter
	head completion
}

// streamType is the media type of a stream.
const streamType = "text/event-stream"

func newStream(w http.ResponseWriter, head completion) *stream {
	h := w.Header()
	h.Set("Content-Type", streamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	return &stream{w, head}
}

// send sends choices as one event.
func (s *stream) send(choices any, u *apiUsage) error {
	chunk := s.head
	chunk.Choices, chunk.Usage = choices, u
	data, err := json.Marshal(chunk)
	if err != nil {
		return err
	}
	return s.write(data)
}

// write sends one event. A client that does not take it in time is left.
func (s *stream) write(data []byte) error {
	control := http.NewResponseController(s.w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
		return errGone
	}
	_ = control.Flush()
	return nil
}

// end ends the stream: with the usage if it is asked for, or with an error.
func (s *stream) end(err error, u *apiUsage) error {
	if !errors.Is(err, io.EOF) {
		if errors.Is(err, context.Canceled) || errors.Is(err, errGone) {
			return errGone
		}
		_ = s.write(errorBody(apiErrorOf(err)))
		return errSent
	}
	if u != nil {
		if err := s.send([]int{}, u); err != nil {
			return err
		}
	}
	return s.write([]byte("[DONE]"))
}

var (
	errGone = errors.New("the client has gone")
	errSent = errors.New("the stream ended with an error")
)

// streamChat sends an answer while it is generated.
func (s *server) streamChat(ctx context.Context, w http.ResponseWriter, call *chatRequest, head completion, answer *serve.Answer, e serve.Event) error {
	out := newStream(w, head)
	choices := make([]chatStream, value(call.N, 1))
	for i := range choices {
		choices[i] = chatStream{server: s, call: call, index: i, out: out}
	}
	var err error
	for ; err == nil; e, err = answer.Next(ctx) {
		if failed := choices[e.Choice].event(e); failed != nil {
			return failed
		}
	}
	var u *apiUsage
	if call.StreamOptions != nil && call.StreamOptions.IncludeUsage {
		u = &apiUsage{}
		u.add(answer.Usage())
	}
	return out.end(err, u)
}

// chatStream sends one choice.
type chatStream struct {
	server *server
	call   *chatRequest
	index  int
	out    *stream
	begun  bool
	tools  toolSplitter
}

// event sends the parts of an event.
func (c *chatStream) event(e serve.Event) error {
	if !c.begun {
		c.begun = true
		if err := c.send(&chatMessage{Role: "assistant", Content: new(string)}, nil, ""); err != nil {
			return err
		}
	}
	text, finish := e.Text, e.Finish
	var calls []toolCall
	if c.call.Tools != nil && !e.Reasoning {
		if text = c.tools.next(e.Text); finish != "" {
			var rest string
			if rest, calls = c.tools.end(); calls != nil {
				finish = "tool_calls"
			}
			text += rest
		}
	}
	switch {
	case text != "" && e.Reasoning:
		if err := c.send(&chatMessage{Reasoning: &text}, nil, ""); err != nil {
			return err
		}
	case text != "" || len(e.Tokens) > 0:
		if err := c.send(&chatMessage{Content: &text}, e.Tokens, ""); err != nil {
			return err
		}
	}
	for i := range calls {
		calls[i].Index = &i
		if err := c.send(&chatMessage{ToolCalls: calls[i : i+1]}, nil, ""); err != nil {
			return err
		}
	}
	if finish == "" {
		return nil
	}
	return c.send(&chatMessage{}, nil, finish)
}

func (c *chatStream) send(m *chatMessage, tokens []serve.Token, finish string) error {
	probs := c.server.logProbs(value(c.call.LogProbs, false) && len(tokens) > 0, tokens)
	return c.out.send([]chatChoice{{Index: c.index, Delta: m, LogProbs: probs, Finish: optional(finish)}}, nil)
}
