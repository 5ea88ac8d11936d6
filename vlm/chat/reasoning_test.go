package chat_test

import (
	"strings"
	"testing"

	"patchwork/vlm/chat"
)

func TestReasoning(t *testing.T) {
	for _, c := range []struct {
		pieces            []string
		reasoning, answer string
	}{
		{[]string{"A", " cat", ".\n"}, "", "A cat.\n"},
		{[]string{"<think>", "\n", "1+1", "\n", "</think>", "\n\n", "2"}, "1+1", "2"},
		{[]string{"<think>", "\n\n", "</think>", "\n\n", "2\n", "\n3"}, "", "2\n\n3"},
		{[]string{"<think>", "\n", "cut off"}, "cut off", ""},
		{[]string{"A", "<think>", "later"}, "", "A<think>later"},
		{[]string{"<|channel>", "thought", "\n", "1+1", "\n is 2", "\n", "<channel|>", "2"}, "1+1\n is 2", "2"},
		{[]string{"<|channel>", "thought", "\n", "<channel|>", "Red", "."}, "", "Red."},
		{[]string{"<|channel>", "thought\nA", "\n", "<channel|>", "\n", "It", "<|channel>", "thought", "\n", "<channel|>", " is"}, "A", "It is"},
		{[]string{"<|channel>", "tho"}, "", ""},
		{[]string{"<|channel>", "thought", "\n", "cut off"}, "cut off", ""},
		{[]string{"<|channel>", "<channel|>", "2"}, "", "2"},
		{nil, "", ""},
	} {
		text := strings.Join(c.pieces, "")
		if reasoning, answer := chat.SplitReasoning(text); reasoning != c.reasoning || answer != c.answer {
			t.Errorf("%q: reasoning %q and answer %q, want %q and %q", text, reasoning, answer, c.reasoning, c.answer)
		}
		var f chat.ReasoningFilter
		var reasoning, answer string
		for _, p := range c.pieces {
			if shown, is := f.Next(p); is {
				reasoning += shown
			} else {
				answer += shown
			}
		}
		if strings.TrimSpace(reasoning) != c.reasoning || answer != c.answer {
			t.Errorf("%q, streamed: reasoning %q and answer %q, want %q and %q", text, reasoning, answer, c.reasoning, c.answer)
		}
	}
}
