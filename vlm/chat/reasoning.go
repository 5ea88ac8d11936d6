package chat

import "strings"

// Marks around what a model thinks before it answers, tokens of Qwen3's.
const (
	ReasoningOpen  = "<think>"
	ReasoningClose = "</think>"
)

// SplitThought takes the thought that opens an answer from it. One that was cut
// off has no answer behind it.
func SplitReasoning(text string) (thought, answer string) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), ReasoningOpen)
	if !ok {
		return "", text
	}
	thought, answer, _ = strings.Cut(rest, ReasoningClose)
	return strings.TrimSpace(thought), strings.TrimSpace(answer)
}

// ThoughtFilter parts the text of an answer, as it comes token by token, into
// thought and answer. Its marks are whole tokens.
type ReasoningFilter struct {
	thinking, started bool
}

// Next returns what of a piece is to be shown and whether it is thought. Line
// ends between the thought and the answer are left out.
func (f *ReasoningFilter) Next(piece string) (text string, thought bool) {
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
