package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/picture"
)

type inferFlags struct {
	model, prompt       string
	images              []string
	raw, chat, thinking bool
	options             vlm.GenerateOptions
}

// inferResult is infer's line of JSON.
type inferResult struct {
	Text             string       `json:"text"`
	PromptTokens     int          `json:"prompt_tokens"`
	CompletionTokens int          `json:"completion_tokens"`
	FinishReason     string       `json:"finish_reason"`
	Device           string       `json:"device"`
	Timings          inferTimings `json:"timings"`
}

type inferTimings struct {
	LoadMS           float64 `json:"load_ms"`
	ImageMS          float64 `json:"image_ms"`
	PrefillMS        float64 `json:"prefill_ms"`
	DecodeMS         float64 `json:"decode_ms"`
	DecodeTokensPerS float64 `json:"decode_tokens_per_s"`
}

func runInfer(ctx context.Context, a *app, args []string) error {
	f := &inferFlags{}
	s := &f.options.Sampling
	a.flags.StringVar(&f.model, "model", "", "model's folder, or a bare decoder: a Hugging Face folder or a GGUF file")
	a.flags.StringArrayVar(&f.images, "image", nil, "picture's file, or - for standard input; may be given several times")
	a.flags.StringVar(&f.prompt, "prompt", "", "question")
	a.flags.BoolVar(&f.raw, "raw", false, "give the prompt to the model as it is, without the chat template")
	a.flags.BoolVar(&f.chat, "chat", false, "hold a conversation in the terminal")
	a.flags.BoolVar(&f.thinking, "thinking", false, "let a model that can think first do so")
	a.flags.IntVar(&f.options.MaxNewTokens, "max-new-tokens", 256, "longest answer, in tokens")
	a.flags.Float64Var(&s.Temperature, "temperature", 0, "0 takes the likeliest token each time")
	a.flags.IntVar(&s.TopK, "top-k", 0, "draw from the k likeliest tokens; 0 = all")
	a.flags.Float64Var(&s.TopP, "top-p", 1, "draw from the likeliest tokens that have this share")
	a.flags.Uint64Var(&s.Seed, "seed", 0, "seed of the drawing")
	a.deviceFlag()
	if err := a.parse(args, 0); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	return f.run(ctx, a)
}

func (f *inferFlags) check() error {
	s := f.options.Sampling
	switch {
	case f.model == "":
		return usagef("--model is missing: a model's folder")
	case f.prompt == "" && !f.chat:
		return usagef("--prompt is missing: the question")
	case f.raw && f.chat:
		return usagef("--raw and --chat are both given; one is enough")
	case f.options.MaxNewTokens < 1:
		return usagef("--max-new-tokens cannot be %d", f.options.MaxNewTokens)
	case s.Temperature < 0 || s.TopK < 0 || s.TopP <= 0 || s.TopP > 1:
		return usagef("--temperature and --top-k cannot be below 0, --top-p lies above 0 and up to 1")
	}
	return nil
}

func (f *inferFlags) run(ctx context.Context, a *app) error {
	raw, err := readImages(f.images)
	if err != nil {
		return err
	}
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	start := time.Now()
	model, err := vlm.Load(f.model, dev)
	if err != nil {
		return err
	}
	load := time.Since(start)
	if model.Config.Vision.None() && len(raw) > 0 {
		return usagef("--image: %s is a decoder that reads text alone; train it with vlmtool train --decoder first", f.model)
	}
	start = time.Now()
	pictures := make([][]byte, len(raw))
	for i, data := range raw {
		img, err := picture.Decode(data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.images[i], err)
		}
		pictures[i] = picture.Preprocess(img, model.Config.Vision.ImageSize)
	}
	s := &session{f: f, a: a, generator: vlm.NewGenerator(model), pictures: pictures}
	defer s.generator.Free()
	s.result.Timings = inferTimings{LoadMS: ms(load), ImageMS: ms(time.Since(start))}
	if f.chat {
		return s.converse(ctx)
	}
	prompt, err := s.encode([]chat.Turn{{User: f.prompt}})
	if err != nil {
		return err
	}
	if _, err := s.answer(ctx, prompt); err != nil {
		return err
	}
	if a.json {
		return a.result(s.result)
	}
	return nil
}

func readImages(names []string) ([][]byte, error) {
	var out [][]byte
	for _, name := range names {
		var data []byte
		var err error
		if name == "-" {
			data, err = io.ReadAll(os.Stdin)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("--image %w", err)
		}
		out = append(out, data)
	}
	return out, nil
}

// session is one model with the pictures that are talked about.
type session struct {
	f         *inferFlags
	a         *app
	generator *vlm.Generator
	pictures  [][]byte
	result    inferResult
}

func (s *session) encode(turns []chat.Turn) (chat.Tokens, error) {
	l := s.generator.Language
	if s.f.raw {
		return l.Raw(s.f.prompt, len(s.pictures)), nil
	}
	thinking := s.f.thinking
	return l.Prompt(chat.Conversation{Turns: turns, Images: len(s.pictures)}, &thinking)
}

// answer generates, streaming the text to the terminal unless JSON is asked for.
func (s *session) answer(ctx context.Context, prompt chat.Tokens) (string, error) {
	o := s.f.options
	stream := s.generator.Language.Tokenizer.NewStream(true)
	if !s.a.json {
		o.Token = func(id int32) { fmt.Fprint(s.a.stdout, stream.Next(id)) }
	}
	got, err := s.generator.Generate(ctx, prompt, s.pictures, o)
	if !s.a.json && (err == nil || len(got.IDs) > 0) {
		fmt.Fprintln(s.a.stdout, stream.Flush())
	}
	if err != nil {
		return "", err
	}
	text := s.generator.Language.Tokenizer.Decode(got.IDs, true)
	t := s.result.Timings
	t.PrefillMS, t.DecodeMS = ms(got.Prefill), ms(got.Decode)
	if n := len(got.IDs); n > 1 && got.Decode > 0 {
		t.DecodeTokensPerS = float64(n-1) / got.Decode.Seconds()
	}
	s.result = inferResult{text, got.PromptTokens, len(got.IDs), got.Finish, s.generator.Device.Info().Device, t}
	return text, nil
}

// converse reads questions line by line until the input ends.
func (s *session) converse(ctx context.Context) error {
	var turns []chat.Turn
	in := bufio.NewScanner(os.Stdin)
	for {
		if !s.a.quiet {
			fmt.Fprint(s.a.stderr, "> ")
		}
		question := s.f.prompt
		if question == "" {
			if !in.Scan() {
				return in.Err()
			}
			question = strings.TrimSpace(in.Text())
		}
		s.f.prompt = ""
		if question == "" {
			continue
		}
		turns = append(turns, chat.Turn{User: question})
		prompt, err := s.encode(turns)
		if err != nil {
			return err
		}
		text, err := s.answer(ctx, prompt)
		var long *vlm.ContextError
		switch {
		case errors.As(err, &long):
			return fmt.Errorf("the conversation is too long: %w", err)
		case err != nil:
			return err
		}
		turns[len(turns)-1].Assistant = text
		if s.a.json {
			if err := s.a.result(s.result); err != nil {
				return err
			}
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
