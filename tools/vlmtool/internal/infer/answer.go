package infer

import (
	"context"
	"fmt"
	"io"
	"time"

	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// Result is infer's line of JSON.
type Result struct {
	Text             string       `json:"text"`
	Thinking         string       `json:"thinking,omitempty"` // the reasoning before the answer
	PromptTokens     int          `json:"prompt_tokens"`
	CachedTokens     int          `json:"cached_tokens"` // of the prompt, in the key/value cache since an earlier turn
	CompletionTokens int          `json:"completion_tokens"`
	FinishReason     string       `json:"finish_reason"`
	Device           string       `json:"device"`
	Weights          string       `json:"weights"`      // the type of most of the decoder's matrices
	Cache            string       `json:"cache"`        // the type of keys and values
	MemoryBytes      int64        `json:"memory_bytes"` // allocated on the device: weights, cache, activations
	Timings          timings      `json:"timings"`
	Explain          *explanation `json:"explain,omitempty"`

	ids []int32
}

type timings struct {
	LoadMS           float64 `json:"load_ms"`
	ImageMS          float64 `json:"image_ms"`
	PrefillMS        float64 `json:"prefill_ms"`
	DecodeMS         float64 `json:"decode_ms"`
	DecodeTokensPerS float64 `json:"decode_tokens_per_s"`
}

// answer generates an answer and streams its text to stdout, unless --json is given. On
// an error the result has the text so far.
func (s *session) answer(ctx context.Context, prompt chat.Tokens) (Result, error) {
	o := s.f.options
	o.Clips = s.clips
	tok := s.generator.Processor.Tokenizer
	if !s.a.JSON {
		show := printer{out: s.a.Stdout, dim: terminal.IsTerminal(s.a.Stdout)}
		stream := chat.NewAnswerStream(tok)
		o.Token = func(t generate.Token) bool {
			show.print(stream.Next(t.ID))
			return true
		}
		defer func() { show.end(stream.Flush()) }()
	}
	got, err := s.generator.Generate(ctx, prompt, s.images, o)
	r := Result{
		PromptTokens: got.PromptTokens, CachedTokens: got.CachedTokens, CompletionTokens: len(got.IDs), FinishReason: got.Finish,
		Device: s.generator.Device.Info().Device, Weights: s.generator.WeightsName(), Cache: s.generator.CacheName(), Timings: s.timings,
	}
	r.MemoryBytes, _ = s.generator.Device.MemoryInUse()
	r.ids = got.IDs
	r.Thinking, r.Text = chat.SplitReasoning(chat.DecodeAnswer(tok, got.IDs))
	r.Timings.PrefillMS, r.Timings.DecodeMS = ms(got.Prefill), ms(got.Decode)
	if n := steps(got); n > 0 && got.Decode > 0 {
		r.Timings.DecodeTokensPerS = float64(n) / got.Decode.Seconds()
	}
	return r, err
}

// steps is the number of decode steps: the first token comes from the prefill, and a
// stop token is not among the IDs.
func steps(got generate.Result) int {
	n := len(got.IDs) - 1
	if got.Finish == "stop" {
		n++
	}
	return n
}

// printer writes an answer as it is generated. Reasoning is dimmed on a terminal and
// left out elsewhere.
type printer struct {
	out     io.Writer
	dim     bool
	filter  chat.ReasoningFilter
	dimmed  bool // the terminal is
	written bool
}

func (s *printer) print(text string) {
	text, reasoning := s.filter.Next(text)
	if text == "" || reasoning && !s.dim {
		return
	}
	if reasoning != s.dimmed {
		s.dimmed = reasoning
		fmt.Fprint(s.out, map[bool]string{true: "\x1b[2m", false: "\x1b[0m\n"}[reasoning])
	}
	s.written = true
	fmt.Fprint(s.out, terminal.PrintableText(text))
}

func (s *printer) end(rest string) {
	s.print(rest)
	if s.dimmed {
		fmt.Fprint(s.out, "\x1b[0m")
	}
	if s.written {
		fmt.Fprintln(s.out)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
