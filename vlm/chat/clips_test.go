package chat_test

import (
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/pretrained"
)

// hearing returns a processor with sound and images of two tokens.
func hearing(t *testing.T) *vlm.Processor {
	t.Helper()
	p, err := pretrained.PresetProcessor("words", 2)
	require.NoError(t, err)
	require.NoError(t, p.HearAudio())
	return p
}

// sound is a clip in a decoded text.
func sound(tokens int) string { return strings.Repeat(chat.AudioToken, tokens) }

// TestClips: clips are where the questions have places for them, or else before the first question,
// after its images.
func TestClips(t *testing.T) {
	p := hearing(t)
	turn := func(user string) chat.Turn { return chat.Turn{User: user, Assistant: "yes"} }
	for _, c := range []struct {
		name string
		in   chat.Conversation
		want string
	}{
		{"before the text", chat.Conversation{Turns: []chat.Turn{turn("what?")}, Clips: []int{3}},
			"<|user|>" + sound(3) + "what?<|assistant|>yes<|end|>"},
		{"after images", chat.Conversation{Turns: []chat.Turn{turn("what?")}, Images: 1, Clips: []int{1, 2}},
			"<|user|><|image|><|image|>" + sound(3) + "what?<|assistant|>yes<|end|>"},
		{"in the text", chat.Conversation{Turns: []chat.Turn{turn("is <|audio|> like <|audio|>?")}, Clips: []int{1, 3}},
			"<|user|>is " + sound(1) + " like " + sound(3) + "?<|assistant|>yes<|end|>"},
		{"in the second question", chat.Conversation{Turns: []chat.Turn{turn("hello"), turn("and <|audio|>?")}, Clips: []int{2}},
			"<|user|>hello<|assistant|>yes<|end|><|user|>and " + sound(2) + "?<|assistant|>yes<|end|>"},
		{"a control token's name in the text", chat.Conversation{Turns: []chat.Turn{turn("<|audio|> <|end|>")}, Clips: []int{2}},
			"<|user|>" + sound(2) + " <|end|><|assistant|>yes<|end|>"},
	} {
		got, err := p.Conversation(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if text := p.Tokenizer.Decode(got.IDs, false); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
		var placed []int
		for _, clip := range got.Clips {
			placed = append(placed, clip.Tokens)
			for _, id := range got.IDs[clip.Start:][:clip.Tokens] {
				if id != p.AudioID() {
					t.Errorf("%s: clip %+v is not of audio tokens", c.name, clip)
				}
			}
		}
		if !slices.Equal(placed, c.in.Clips) || count(got.IDs, p.AudioID()) != len(strings.Split(c.want, chat.AudioToken))-1 {
			t.Errorf("%s: clips of %v tokens, want %v", c.name, placed, c.in.Clips)
		}
		end, _ := p.Tokenizer.ID("<|end|>")
		if n := len(c.in.Turns); count(got.IDs, end) != n {
			t.Errorf("%s: %d ends of a turn, want %d", c.name, count(got.IDs, end), n)
		}
	}
}

// TestClipsRefused: questions that name some clips and not others are an error, and a text that has
// no clip never becomes one.
func TestClipsRefused(t *testing.T) {
	p := hearing(t)
	c := chat.Conversation{Turns: []chat.Turn{{User: "<|audio|>", Assistant: "yes"}}, Clips: []int{1, 2}}
	if _, err := p.Conversation(c); err == nil || !strings.Contains(err.Error(), "<|audio|> 1 times, for 2 clips") {
		t.Errorf("%v", err)
	}
	c.Clips = nil
	got, err := p.Conversation(c)
	require.NoError(t, err)
	if count(got.IDs, p.AudioID()) != 0 || len(got.Clips) != 0 {
		t.Error("a user's text became sound")
	}
	answer := chat.Conversation{Turns: []chat.Turn{{User: "say", Assistant: "<|audio|>"}}, Clips: []int{2}}
	got, err = p.Conversation(answer)
	require.NoError(t, err)
	if n := count(got.IDs, p.AudioID()); n != 2 {
		t.Errorf("%d audio tokens, want the clip's 2: the answer's text is not sound", n)
	}
	deaf, err := pretrained.PresetProcessor("shapes", 2)
	require.NoError(t, err)
	if _, err := deaf.Conversation(chat.Conversation{Turns: answer.Turns, Clips: []int{2}}); err == nil {
		t.Error("an encoder without sound encoded a clip")
	}
}

// TestClipsSharedPrefix: turns share the clips before them.
func TestClipsSharedPrefix(t *testing.T) {
	p := hearing(t)
	c := chat.Conversation{Turns: []chat.Turn{{User: "what?", Assistant: "yes"}, {User: "no?", Assistant: "no"}}, Images: 1, Clips: []int{2, 1}}
	checkSharedPrefix(t, p.Encoder, c)
	got, err := p.SharedPrefix(c)
	require.NoError(t, err)
	if text := p.Tokenizer.Decode(got.Prefix.IDs, false); text != "<|user|><|image|><|image|>"+sound(3) || len(got.Prefix.Clips) != 2 {
		t.Errorf("the prefix is %q with clips %v", text, got.Prefix.Clips)
	}
	c.Turns[0].User, c.Clips = "what <|audio|>?", []int{2}
	if _, err := p.SharedPrefix(c); err == nil || !strings.Contains(err.Error(), "differs between turns") {
		t.Errorf("turns with and without sound of their own: %v", err)
	}
}
