package chat

import (
	"strings"

	"patchwork/vlm/tokenizer"
)

// ReasoningOpen and ReasoningClose are the tokens around a model's reasoning before its
// answer, as in Qwen3.
const (
	ReasoningOpen  = "<think>"
	ReasoningClose = "</think>"
)

// ChannelOpen and ChannelClose are the tokens around a channel of Gemma 4's output, which begins with
// a line with its name: "thought" is reasoning. They are control tokens, so no text has them.
const (
	ChannelOpen  = "<|channel>"
	ChannelClose = "<channel|>"
)

// SplitReasoning splits a model's output into reasoning and answer. If the reasoning is cut
// off, the answer is empty.
func SplitReasoning(text string) (reasoning, answer string) {
	if strings.Contains(text, ChannelOpen) {
		return splitChannels(text)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), ReasoningOpen)
	if !ok {
		return "", text
	}
	reasoning, answer, _ = strings.Cut(rest, ReasoningClose)
	return strings.TrimSpace(reasoning), strings.TrimSpace(answer)
}

// splitChannels splits the output of a model that has channels. What is in none is the answer.
func splitChannels(text string) (reasoning, answer string) {
	var thoughts []string
	for {
		before, rest, ok := strings.Cut(text, ChannelOpen)
		answer += before
		if !ok {
			return strings.Join(thoughts, "\n"), strings.TrimSpace(answer)
		}
		channel, after, _ := strings.Cut(rest, ChannelClose)
		_, channel, _ = strings.Cut(channel, "\n") // after its name
		if channel = strings.TrimSpace(channel); channel != "" {
			thoughts = append(thoughts, channel)
		}
		text = after
	}
}

// ReasoningFilter splits a model's output into reasoning and answer while it is generated.
// It expects the tokens around reasoning as pieces of their own.
type ReasoningFilter struct {
	thinking, started bool
	name              bool // the channel's name has not ended
}

// Next returns the text of a piece to display, and whether it is reasoning. Newlines
// between reasoning and answer are dropped.
func (f *ReasoningFilter) Next(piece string) (text string, reasoning bool) {
	token := strings.TrimSpace(piece)
	switch {
	case token == ChannelOpen:
		f.thinking, f.started, f.name = true, true, true
		return "", true
	case !f.started && token == ReasoningOpen:
		f.thinking, f.started = true, true
		return "", true
	case f.thinking && (token == ReasoningClose || token == ChannelClose):
		f.thinking, f.started, f.name = false, false, false
		return "", true
	case f.name:
		_, after, ended := strings.Cut(piece, "\n")
		f.name = !ended
		return after, true
	case !f.started:
		piece = strings.TrimLeft(piece, "\n")
		f.started = piece != ""
	}
	return piece, f.thinking
}

// AnswerStream decodes a model's output one token at a time, without control tokens but for those
// around reasoning, for a ReasoningFilter.
type AnswerStream struct {
	*tokenizer.Stream
	tokenizer *tokenizer.Tokenizer
}

// NewAnswerStream starts a stream.
func NewAnswerStream(tok *tokenizer.Tokenizer) *AnswerStream {
	return &AnswerStream{tok.NewStream(true), tok}
}

// Next returns the text completed by id, which may be empty.
func (s *AnswerStream) Next(id int32) string {
	switch token := s.tokenizer.Token(id); token {
	case ReasoningOpen, ReasoningClose, ChannelOpen, ChannelClose:
		if s.tokenizer.IsSpecial(id) {
			return token
		}
	}
	return s.Stream.Next(id)
}

// DecodeAnswer returns the text of a model's output, without control tokens but for those around
// reasoning, for SplitReasoning.
func DecodeAnswer(tok *tokenizer.Tokenizer, ids []int32) string {
	s := NewAnswerStream(tok)
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(s.Next(id))
	}
	text.WriteString(s.Flush())
	return text.String()
}
