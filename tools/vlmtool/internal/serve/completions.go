package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/serve"
)

const (
	maxPrompts     = 16
	maxOldLogProbs = 5
	// defaultTokens is the length of a text completion, as in OpenAI's API.
	defaultTokens = 16
)

// textRequest is a request to /v1/completions.
type textRequest struct {
	parameters
	Prompt   json.RawMessage `json:"prompt"`
	LogProbs *int            `json:"logprobs"`
	BestOf   *int            `json:"best_of"`
	Echo     *bool           `json:"echo"`
	Suffix   *string         `json:"suffix"`
}

type textChoice struct {
	Index    int           `json:"index"`
	Text     string        `json:"text"`
	LogProbs *textLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

// textLogProbs are log-probabilities in the form of text completions.
type textLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []float64            `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // in characters
}

// prepareText reads a request and makes its prompts.
func (s *server) prepareText(body []byte) (*textRequest, []serve.Request, error) {
	var r textRequest
	if err := decode(body, &r); err != nil {
		return nil, nil, err
	}
	one, err := s.common(&r.parameters)
	if err != nil {
		return nil, nil, err
	}
	if err := between("logprobs", r.LogProbs, 0, maxOldLogProbs); err != nil {
		return nil, nil, err
	}
	switch {
	case r.BestOf != nil && *r.BestOf != one.Choices:
		return nil, nil, invalid("best_of", "'best_of' is only supported where it equals 'n'").withCode("unsupported_value")
	case value(r.Echo, false):
		return nil, nil, invalid("echo", "'echo' is not supported").withCode("unsupported_value")
	case value(r.Suffix, "") != "":
		return nil, nil, invalid("suffix", "'suffix' is not supported").withCode("unsupported_value")
	}
	if one.LogProbs, one.TopLogProbs = r.LogProbs != nil, value(r.LogProbs, 0); r.MaxTokens == nil {
		one.MaxNewTokens = defaultTokens
	}
	prompts, err := s.prompts(r.Prompt)
	var out []serve.Request
	for _, p := range prompts {
		next := one
		next.Prompt = p
		out = append(out, next)
	}
	return &r, out, err
}

// as decodes JSON of a type; ok is false if it is of another.
func as[T any](raw json.RawMessage) (v T, ok bool) {
	var none T
	if json.Unmarshal(raw, &v) != nil {
		return none, false
	}
	return v, true
}

// prompts reads a text, ids, or several of either.
func (s *server) prompts(raw json.RawMessage) ([]chat.Tokens, error) {
	if absent(raw) {
		return nil, missing("prompt")
	}
	texts, isTexts := as[[]string](raw)
	lists, isLists := as[[][]int32](raw)
	if text, ok := as[string](raw); ok {
		texts = []string{text}
	} else if ids, ok := as[[]int32](raw); ok && !isTexts {
		lists = [][]int32{ids}
	} else if !isTexts && !isLists {
		return nil, invalid("prompt", "Invalid type for 'prompt': expected a string, an array of strings, an array of tokens, or an array of arrays of tokens.").withCode("invalid_type")
	}
	if n := len(texts) + len(lists); n < 1 || n > maxPrompts {
		return nil, invalid("prompt", "Invalid 'prompt': %d prompts, want 1 to %d.", n, maxPrompts)
	}
	var out []chat.Tokens
	for _, text := range texts {
		if least := s.model.Processor.MinTokens(chat.Turn{User: text}); least > s.scheduler.Context() {
			return nil, contextExceeded(least, s.scheduler.Context())
		}
		t, err := s.model.Processor.Raw(text, nil, nil, vlm.BOSAuto)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	for _, ids := range lists {
		for _, id := range ids {
			if id < 0 || int(id) >= s.model.Processor.Tokenizer.Len() {
				return nil, invalid("prompt", "Invalid 'prompt': there is no token %d.", id).withCode("invalid_value")
			}
		}
		out = append(out, chat.Tokens{IDs: ids, LossMask: make([]bool, len(ids))})
	}
	for i, t := range out {
		if len(t.IDs) == 0 {
			return nil, invalid("prompt", "Invalid 'prompt': prompt %d is empty.", i+1).withCode("invalid_value")
		}
	}
	return out, nil
}

// textCompletions answers /v1/completions: the prompts one after another.
func (s *server) textCompletions(w http.ResponseWriter, r *http.Request, body *requestBody) error {
	var call *textRequest
	requests, err := s.prepare(r, body, func(body []byte) (out []serve.Request, err error) {
		call, out, err = s.prepareText(body)
		return out, err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	t := &textCall{server: s, call: call, w: w, offsets: make([]int, len(requests)*value(call.N, 1))}
	t.head = completion{ID: newID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: s.model.ID}
	for i := range t.offsets {
		t.choices = append(t.choices, textChoice{Index: i})
	}
	for i, request := range requests {
		if err := t.answer(ctx, r, request, i*value(call.N, 1)); err != nil {
			if t.stream != nil {
				return t.stream.end(err, nil)
			}
			return err
		}
	}
	if t.stream == nil {
		t.head.Choices, t.head.Usage = t.choices, &t.usage
		return writeJSON(w, t.head)
	}
	if call.StreamOptions == nil || !call.StreamOptions.IncludeUsage {
		return t.stream.end(io.EOF, nil)
	}
	return t.stream.end(io.EOF, &t.usage)
}

// textCall is a request that is being answered.
type textCall struct {
	server  *server
	call    *textRequest
	w       http.ResponseWriter
	head    completion
	stream  *stream // nil: not begun, or the answer is sent whole
	choices []textChoice
	offsets []int // characters so far, by choice
	usage   apiUsage
}

// answer answers one prompt; first is the index of its first choice.
func (t *textCall) answer(ctx context.Context, r *http.Request, request serve.Request, first int) error {
	answer, err := t.server.submit(ctx, r, request)
	if err != nil {
		return err
	}
	for {
		e, err := answer.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			t.usage.add(answer.Usage())
			return nil
		case err != nil:
			return err
		}
		i := first + e.Choice
		one := textChoice{Index: i, Text: e.Text, LogProbs: t.logProbs(e, i), Finish: optional(e.Finish)}
		if !value(t.call.Stream, false) {
			t.choices[i].add(one)
			continue
		}
		if t.stream == nil {
			t.stream = newStream(t.w, t.head)
		}
		if err := t.stream.send([]textChoice{one}, nil); err != nil {
			return err
		}
	}
}

// add adds a part of the answer.
func (c *textChoice) add(part textChoice) {
	c.Text, c.Finish = c.Text+part.Text, part.Finish
	if part.LogProbs == nil {
		return
	}
	if c.LogProbs == nil {
		c.LogProbs = part.LogProbs
		return
	}
	l, p := c.LogProbs, part.LogProbs
	l.Tokens, l.LogProbs, l.Top, l.Offsets = append(l.Tokens, p.Tokens...), append(l.LogProbs, p.LogProbs...), append(l.Top, p.Top...), append(l.Offsets, p.Offsets...)
}

func (t *textCall) logProbs(e serve.Event, choice int) *textLogProbs {
	if t.call.LogProbs == nil {
		return nil
	}
	out := &textLogProbs{Tokens: []string{}, LogProbs: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	for _, token := range e.Tokens {
		text := strings.ToValidUTF8(string(token.Bytes), "\uFFFD")
		top := map[string]float64{}
		for _, o := range token.Top {
			top[strings.ToValidUTF8(string(t.server.model.Processor.Tokenizer.Bytes(o.ID)), "\uFFFD")] = max(o.LogProb, leastLogProb)
		}
		out.Tokens, out.LogProbs = append(out.Tokens, text), append(out.LogProbs, max(token.LogProb, leastLogProb))
		out.Top, out.Offsets = append(out.Top, top), append(out.Offsets, t.offsets[choice])
		t.offsets[choice] += utf8.RuneCountInString(text)
	}
	return out
}
