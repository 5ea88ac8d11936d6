package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/term"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// inferResult is infer's line of JSON.
type inferResult struct {
	Text             string       `json:"text"`
	Thinking         string       `json:"thinking,omitempty"` // what the model thought first
	PromptTokens     int          `json:"prompt_tokens"`
	CachedTokens     int          `json:"cached_tokens"` // of the prompt, computed in an earlier turn
	CompletionTokens int          `json:"completion_tokens"`
	FinishReason     string       `json:"finish_reason"`
	Device           string       `json:"device"`
	Timings          inferTimings `json:"timings"`
	Explain          *explanation `json:"explain,omitempty"`

	ids []int32
}

type inferTimings struct {
	LoadMS           float64 `json:"load_ms"`
	ImageMS          float64 `json:"image_ms"`
	PrefillMS        float64 `json:"prefill_ms"`
	DecodeMS         float64 `json:"decode_ms"`
	DecodeTokensPerS float64 `json:"decode_tokens_per_s"`
}

// answer generates, streaming the text to stdout unless JSON is asked for. What
// came before an error is in the result.
func (s *session) answer(ctx context.Context, prompt chat.Tokens) (inferResult, error) {
	o := s.f.options
	tok := s.generator.Processor.Tokenizer
	if !s.a.json {
		show := shower{out: s.a.stdout, dim: isTerminal(s.a.stdout)}
		stream := tok.NewStream(true)
		o.Token = func(id int32) { show.piece(stream.Next(id)) }
		defer func() { show.end(stream.Flush()) }()
	}
	got, err := s.generator.Generate(ctx, prompt, s.pictures, o)
	r := inferResult{
		PromptTokens: got.PromptTokens, CachedTokens: got.CachedTokens, CompletionTokens: len(got.IDs), FinishReason: got.Finish,
		Device: s.generator.Device.Info().Device, Timings: s.timings,
	}
	r.ids = got.IDs
	r.Thinking, r.Text = chat.SplitThought(tok.Decode(got.IDs, true))
	r.Timings.PrefillMS, r.Timings.DecodeMS = ms(got.Prefill), ms(got.Decode)
	if n := steps(got); n > 0 && got.Decode > 0 {
		r.Timings.DecodeTokensPerS = float64(n) / got.Decode.Seconds()
	}
	return r, err
}

// steps is how many tokens came after the first, which the prompt's pass gives.
func steps(got generate.Result) int {
	n := len(got.IDs) - 1
	if got.Finish == "stop" {
		n++
	}
	return n
}

// shower writes an answer as it comes. A thought is dimmed on a terminal and left
// out elsewhere.
type shower struct {
	out     io.Writer
	dim     bool
	filter  chat.ThoughtFilter
	thought bool // the terminal is dimmed
	written bool
}

func (s *shower) piece(text string) {
	text, thought := s.filter.Next(text)
	if text == "" || thought && !s.dim {
		return
	}
	if thought != s.thought {
		s.thought = thought
		fmt.Fprint(s.out, map[bool]string{true: "\x1b[2m", false: "\x1b[0m\n"}[thought])
	}
	s.written = true
	fmt.Fprint(s.out, printableText(text))
}

func (s *shower) end(rest string) {
	s.piece(rest)
	if s.thought {
		fmt.Fprint(s.out, "\x1b[0m")
	}
	if s.written {
		fmt.Fprintln(s.out)
	}
}

// isTerminal says whether a stream is one.
func isTerminal(stream any) bool {
	f := fileOf(stream)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
