package chat_test

import (
	"strings"
	"testing"

	"patchwork/vlm/chat"
)

func TestThought(t *testing.T) {
	for _, c := range []struct {
		pieces          []string
		thought, answer string
	}{
		{[]string{"A", " cat", ".\n"}, "", "A cat.\n"},
		{[]string{"<think>", "\n", "1+1", "\n", "</think>", "\n\n", "2"}, "1+1", "2"},
		{[]string{"<think>", "\n\n", "</think>", "\n\n", "2\n", "\n3"}, "", "2\n\n3"},
		{[]string{"<think>", "\n", "cut off"}, "cut off", ""},
		{[]string{"A", "<think>", "later"}, "", "A<think>later"},
		{nil, "", ""},
	} {
		text := strings.Join(c.pieces, "")
		if thought, answer := chat.SplitReasoning(text); thought != c.thought || answer != c.answer {
			t.Errorf("%q: thought %q and answer %q, want %q and %q", text, thought, answer, c.thought, c.answer)
		}
		var f chat.ReasoningFilter
		var thought, answer string
		for _, p := range c.pieces {
			if shown, is := f.Next(p); is {
				thought += shown
			} else {
				answer += shown
			}
		}
		if strings.TrimSpace(thought) != c.thought || answer != c.answer {
			t.Errorf("%q, streamed: thought %q and answer %q, want %q and %q", text, thought, answer, c.thought, c.answer)
		}
	}
}
