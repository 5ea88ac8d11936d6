package chat

import "strings"

// ReasoningOpen and ReasoningClose are the tokens around a model's reasoning before its
// answer, as in Qwen3.
const (
	ReasoningOpen  = "<think>"
	ReasoningClose = "</think>"
)

// SplitReasoning splits a model's output into reasoning and answer. If the reasoning is cut
// off, the answer is empty.
func SplitReasoning(text string) (reasoning, answer string) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), ReasoningOpen)
	if !ok {
		return "", text
	}
	reasoning, answer, _ = strings.Cut(rest, ReasoningClose)
	return strings.TrimSpace(reasoning), strings.TrimSpace(answer)
}

// ReasoningFilter splits a model's output into reasoning and answer while it is generated.
// It expects ReasoningOpen and ReasoningClose as pieces of their own, as tokens.
type ReasoningFilter struct {
	thinking, started bool
}

// Next returns the text of a piece to display, and whether it is reasoning. Newlines
// between reasoning and answer are dropped.
func (f *ReasoningFilter) Next(piece string) (text string, reasoning bool) {
	switch {
	case !f.started && strings.TrimSpace(piece) == ReasoningOpen:
		f.thinking, f.started = true, true
		return "", true
	case f.thinking && strings.TrimSpace(piece) == ReasoningClose:
		f.thinking, f.started = false, false
		return "", true
	case !f.started:
		piece = strings.TrimLeft(piece, "\n")
		f.started = piece != ""
	}
	return piece, f.thinking
}
