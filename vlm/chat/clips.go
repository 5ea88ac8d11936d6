package chat

import (
	"fmt"
	"slices"
	"strings"
)

// clipsBefore returns the tokens of the clips that are before the content.
func (m Message) clipsBefore() string {
	if m.clipsWithin {
		return ""
	}
	n := 0
	for _, tokens := range m.Clips {
		n += tokens
	}
	return strings.Repeat(AudioToken, n)
}

// expandClips returns the messages with as many AudioTokens for each clip in their contents as it
// has frames.
func expandClips(messages []Message) []Message {
	var out []Message
	for i, m := range messages {
		if strings.Count(m.Content, AudioToken) != len(m.Clips) || len(m.Clips) == 0 {
			continue
		}
		if out == nil {
			out = append(out, messages...)
		}
		var b strings.Builder
		rest := m.Content
		for _, tokens := range m.Clips {
			before, after, _ := strings.Cut(rest, AudioToken)
			b.WriteString(before)
			b.WriteString(strings.Repeat(AudioToken, tokens))
			rest = after
		}
		out[i].Content, out[i].clipsWithin = b.String()+rest, true
	}
	if out == nil {
		return messages
	}
	return out
}

// bracketClips puts the tokens that open and close a clip around those of each, where the tokenizer has
// them.
func (e *Encoder) bracketClips(t Tokens, messages []Message) Tokens {
	var clips []int
	for _, m := range messages {
		clips = append(clips, m.Clips...)
	}
	if len(clips) == 0 || e.audioOpen == noID {
		return t
	}
	var out Tokens
	inClip := 0 // tokens of the clip so far
	for i, id := range t.IDs {
		add := []int32{id}
		if id == e.audioID && len(clips) > 0 {
			if inClip++; inClip == 1 {
				add = []int32{e.audioOpen, id}
			}
			if inClip == clips[0] {
				add, clips, inClip = append(add, e.audioClose), clips[1:], 0
			}
		}
		out.IDs = append(out.IDs, add...)
		out.LossMask = append(out.LossMask, slices.Repeat(t.LossMask[i:i+1], len(add))...)
	}
	return out
}

// AppendClip appends the ids of a clip of sound and of the tokens around it. It leaves the loss mask to
// the caller.
func (e *Encoder) AppendClip(t *Tokens, tokens int) {
	if e.audioOpen != noID {
		t.IDs = append(t.IDs, e.audioOpen)
	}
	t.Clips = append(t.Clips, Clip{Start: len(t.IDs), Tokens: tokens})
	t.IDs = append(t.IDs, slices.Repeat([]int32{e.audioID}, tokens)...)
	if e.audioClose != noID {
		t.IDs = append(t.IDs, e.audioClose)
	}
}

// clips returns where the clips of messages are in their ids. The error is a *TemplateError if the
// template left some out.
func (e *Encoder) clips(ids []int32, messages []Message) ([]Clip, error) {
	var out []Clip
	at := 0
	for _, m := range messages {
		for _, tokens := range m.Clips {
			for at < len(ids) && ids[at] != e.audioID {
				at++
			}
			for i := at; i < at+tokens; i++ {
				if i >= len(ids) || ids[i] != e.audioID {
					return nil, &TemplateError{fmt.Sprintf("the rendered text has %d clips of sound whole, and not the next", len(out))}
				}
			}
			out = append(out, Clip{at, tokens})
			at += tokens
		}
	}
	return out, nil
}
