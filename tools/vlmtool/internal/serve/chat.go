package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"patchwork/vlm/chat"
	"patchwork/vlm/serve"
)

// chatRequest is a request to /v1/chat/completions.
type chatRequest struct {
	parameters
	Messages            []message        `json:"messages"`
	MaxCompletionTokens *int             `json:"max_completion_tokens"`
	LogProbs            *bool            `json:"logprobs"`
	TopLogProbs         *int             `json:"top_logprobs"`
	ResponseFormat      *responseFormat  `json:"response_format"`
	Tools               json.RawMessage  `json:"tools"`
	ToolChoice          json.RawMessage  `json:"tool_choice"`
	Functions           json.RawMessage  `json:"functions"`
	FunctionCall        json.RawMessage  `json:"function_call"`
	Modalities          []string         `json:"modalities"`
	TemplateOptions     *templateOptions `json:"chat_template_kwargs"`
}

// templateOptions are variables of the chat template, as with other servers.
type templateOptions struct {
	Thinking bool `json:"enable_thinking"`
}

// prepare reads a request and makes its prompt.
func (s *server) prepareChat(body []byte) (*chatRequest, serve.Request, error) {
	var r chatRequest
	if err := decode(body, &r); err != nil {
		return nil, serve.Request{}, err
	}
	if r.MaxTokens == nil {
		r.MaxTokens = r.MaxCompletionTokens
	}
	out, err := s.common(&r.parameters)
	if err != nil {
		return nil, out, err
	}
	for _, err := range []error{
		between("max_completion_tokens", r.MaxCompletionTokens, 1, math.MaxInt32), between("top_logprobs", r.TopLogProbs, 0, maxTop),
	} {
		if err != nil {
			return nil, out, err
		}
	}
	out.LogProbs, out.TopLogProbs, out.Reasoning = value(r.LogProbs, false), value(r.TopLogProbs, 0), true
	for _, kind := range r.Modalities {
		if kind != "text" {
			return nil, out, invalid("modalities", "the model answers in text only").withCode("unsupported_value")
		}
	}
	if r.TopLogProbs != nil && !out.LogProbs {
		return nil, out, invalid("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.")
	}
	if out.Constraint, err = s.constraint(r.ResponseFormat); err != nil {
		return nil, out, err
	}
	if r.Tools, err = s.tools(&r); err != nil {
		return nil, out, err
	}
	return &r, out, s.chatPrompt(&r, &out)
}

// chatPrompt makes the prompt of a conversation.
func (s *server) chatPrompt(r *chatRequest, out *serve.Request) error {
	c, err := s.conversation(r.Messages)
	if err != nil {
		return err
	}
	thinking := r.TemplateOptions != nil && r.TemplateOptions.Thinking && out.Constraint == nil
	return s.promptOf(c, chat.Options{AddGenerationPrompt: true, Thinking: &thinking, Tools: r.Tools}, out)
}

// promptOf encodes a conversation, unless it has too many tokens for that.
func (s *server) promptOf(c *conversation, o chat.Options, out *serve.Request) (err error) {
	if least := s.model.Processor.MinTokens(chat.Turn{User: textOf(c.messages)}); least > s.scheduler.Context() {
		return contextExceeded(least, s.scheduler.Context())
	}
	out.Prompt, err = s.model.Processor.Messages(c.messages, o)
	out.Images, out.Clips = c.images, c.clips
	return err
}

// textOf joins the contents of messages.
func textOf(messages []chat.Message) string {
	var all strings.Builder
	for _, m := range messages {
		all.WriteString(m.Content)
	}
	return all.String()
}

// chatMessage is an answer, or in streams a part of one.
type chatMessage struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning *string    `json:"reasoning_content,omitempty"`
	Refusal   *string    `json:"refusal,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatMessage  `json:"message,omitempty"`
	Delta    *chatMessage  `json:"delta,omitempty"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

type chatLogProbs struct {
	Content []tokenLogProb `json:"content"`
}

type tokenLogProb struct {
	Token   string         `json:"token"`
	LogProb float64        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogProb `json:"top_logprobs,omitempty"`
}

type completion struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Created int64     `json:"created"`
	Model   string    `json:"model"`
	Choices any       `json:"choices"`
	Usage   *apiUsage `json:"usage,omitempty"`
}

type apiUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
	PromptDetails    struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// add adds what a request took.
func (u *apiUsage) add(of serve.Usage) {
	u.PromptTokens += of.PromptTokens
	u.CompletionTokens += of.CompletionTokens
	u.TotalTokens += of.PromptTokens + of.CompletionTokens
	u.PromptDetails.CachedTokens += of.CachedTokens
	u.CompletionDetails.ReasoningTokens += of.ReasoningTokens
}

// logProbs returns tokens as the API reports them; nil without them.
func (s *server) logProbs(wanted bool, tokens []serve.Token) *chatLogProbs {
	if !wanted {
		return nil
	}
	tok, out := s.model.Processor.Tokenizer, &chatLogProbs{Content: []tokenLogProb{}}
	for _, t := range tokens {
		one := newTokenLogProb(t.Bytes, t.LogProb)
		for _, top := range t.Top {
			one.Top = append(one.Top, newTokenLogProb(tok.Bytes(top.ID), top.LogProb))
		}
		out.Content = append(out.Content, one)
	}
	return out
}

// leastLogProb stands for -Inf, which JSON does not have, as in OpenAI's API.
const leastLogProb = -9999

func newTokenLogProb(text []byte, logProb float64) tokenLogProb {
	out := tokenLogProb{Token: strings.ToValidUTF8(string(text), "\uFFFD"), LogProb: max(logProb, leastLogProb), Bytes: []int{}}
	for _, b := range text {
		out.Bytes = append(out.Bytes, int(b))
	}
	return out
}

// chatCompletions answers /v1/chat/completions.
func (s *server) chatCompletions(w http.ResponseWriter, r *http.Request, body *requestBody) error {
	var call *chatRequest
	request, err := s.prepare(r, body, func(body []byte) (out []serve.Request, err error) {
		var one serve.Request
		call, one, err = s.prepareChat(body)
		return []serve.Request{one}, err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	answer, first, err := s.begin(ctx, r, request[0])
	if err != nil {
		return err
	}
	head := completion{ID: newID("chatcmpl-"), Object: "chat.completion", Created: time.Now().Unix(), Model: s.model.ID}
	if value(call.Stream, false) {
		head.Object = "chat.completion.chunk"
		return s.streamChat(ctx, w, call, head, answer, first)
	}
	choices, err := s.collectChat(ctx, call, answer, first)
	if err != nil {
		return err
	}
	head.Choices, head.Usage = choices, &apiUsage{}
	head.Usage.add(answer.Usage())
	return writeJSON(w, head)
}

// chatText collects the text of one choice.
type chatText struct {
	text, reasoning strings.Builder
	tools           toolSplitter
	tokens          []serve.Token
	finish          string
}

// collectChat waits for the whole answer.
func (s *server) collectChat(ctx context.Context, call *chatRequest, answer *serve.Answer, e serve.Event) ([]chatChoice, error) {
	texts := make([]chatText, value(call.N, 1))
	var err error
	for ; err == nil; e, err = answer.Next(ctx) {
		t := &texts[e.Choice]
		switch {
		case e.Reasoning:
			t.reasoning.WriteString(e.Text)
		case call.Tools != nil:
			t.text.WriteString(t.tools.next(e.Text))
		default:
			t.text.WriteString(e.Text)
		}
		t.tokens, t.finish = append(t.tokens, e.Tokens...), e.Finish
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	var out []chatChoice
	for i := range texts {
		t := &texts[i]
		rest, calls := t.tools.end()
		text := t.text.String() + rest
		m := &chatMessage{Role: "assistant", Content: &text, Reasoning: optional(strings.TrimSpace(t.reasoning.String())), ToolCalls: calls}
		if calls != nil {
			if t.finish, text = "tool_calls", strings.TrimSpace(text); text == "" {
				m.Content = nil
			}
		}
		out = append(out, chatChoice{Index: i, Message: m, LogProbs: s.logProbs(value(call.LogProbs, false), t.tokens), Finish: &t.finish})
	}
	return out, nil
}
