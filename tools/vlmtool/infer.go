package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"patchwork/internal/smallfile"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/pretrained"
)

type inferFlags struct {
	model, prompt, dtype string
	bos                  string // with raw
	explain              string // a PNG to write
	storage              shaders.Type
	images               []string
	raw, chat, thinking  bool
	options              generate.Options
}

var inferCommand = command{
	name: "infer", usage: "--model DIR|FILE.gguf [--image FILE]… --prompt TEXT [flags]", about: "ask a model about pictures",
	text: "Answers a question about pictures, or holds a conversation about them in the terminal. The likeliest token is taken each time, so that the same question gives the same answer, unless --temperature is above 0.",
	examples: []example{
		{`vlmtool infer --model demo/model --image demo/example.png --prompt "what color is the triangle?"`, "the demo's model, which make demo trains"},
		{`vlmtool infer --model demo/model --image demo/example.png --chat`, "a conversation about a picture"},
		{`vlmtool infer --model demo/model --image - --prompt "what shape is blue?" --json < demo/example.png`, "a picture from standard input, the answer as JSON"},
	},
	declare: declareInfer,
}

func declareInfer(a *app) action {
	f := &inferFlags{}
	s := &f.options.Sampling
	a.flags.StringVar(&f.model, "model", "", "PATH: model's folder, or a bare decoder: a Hugging Face folder or a GGUF file")
	a.flags.StringArrayVar(&f.images, "image", nil, "FILE: picture, or - for standard input; may be given several times")
	a.flags.StringVar(&f.prompt, "prompt", "", "TEXT: question")
	a.flags.BoolVar(&f.raw, "raw", false, "give the prompt to the model as it is, without the chat template")
	a.bosFlag(&f.bos, "with --raw: ")
	a.flags.BoolVar(&f.chat, "chat", false, "hold a conversation; /help in it tells more")
	a.flags.BoolVar(&f.thinking, "thinking", false, "let a model that can think first do so")
	a.group("How the answer is drawn")
	a.flags.IntVar(&f.options.MaxNewTokens, "max-new-tokens", 256, "longest answer, in tokens")
	a.flags.Float64Var(&s.RepetitionPenalty, "repetition-penalty", 1, "above 1 makes tokens that occurred less likely")
	a.flags.Float64Var(&s.Temperature, "temperature", 0, "0 takes the likeliest token each time")
	a.flags.IntVar(&s.TopK, "top-k", 0, "draw from the k likeliest tokens; 0 = all")
	a.flags.Float64Var(&s.TopP, "top-p", 1, "draw from the likeliest tokens that have this share")
	a.flags.Uint64Var(&s.Seed, "seed", 0, "seed of the drawing")
	a.group("Output")
	a.flags.StringVar(&f.explain, "explain", "", "FILE: PNG to draw: where the model looked before each word of the answer")
	a.group("Where it runs")
	a.dtypeFlag(&f.dtype)
	a.deviceFlag()
	return func(ctx context.Context) error {
		f.storage = storage(f.dtype)
		if err := f.check(); err != nil {
			return err
		}
		return f.run(ctx, a)
	}
}

func (f *inferFlags) check() error {
	s := f.options.Sampling
	switch {
	case f.model == "":
		return usagef("--model is missing: a model's folder")
	case f.prompt == "" && !f.chat:
		return usagef("--prompt is missing: the question")
	case !utf8.ValidString(f.prompt):
		return usagef("--prompt is not in UTF-8; set the terminal to UTF-8, or convert the text by iconv -f WINDOWS-1252 -t UTF-8")
	case f.raw && f.chat:
		return usagef("--raw and --chat are both given; one is enough")
	case f.options.MaxNewTokens < 1:
		return usagef("--max-new-tokens cannot be %d, want 1 or more", f.options.MaxNewTokens)
	case s.Temperature < 0 || s.TopK < 0 || s.TopP <= 0 || s.TopP > 1:
		return usagef("--temperature and --top-k cannot be below 0, --top-p lies above 0 and up to 1")
	case s.RepetitionPenalty <= 0:
		return usagef("--repetition-penalty cannot be %g; 1 is none", s.RepetitionPenalty)
	case f.explain != "" && f.chat:
		return usagef("--explain draws one answer; leave --chat out and give the question as --prompt")
	case f.explain != "" && len(f.images) == 0:
		return usagef("--explain shows where in a picture the model looked; --image is missing")
	case f.chat && slices.Contains(f.images, "-"):
		return usagef("--image - reads the standard input, where --chat's questions come from")
	}
	return nil
}

func (f *inferFlags) run(ctx context.Context, a *app) error {
	raw, err := a.readImages(f.images)
	if err != nil {
		return err
	}
	if f.explain != "" {
		if _, err := os.Stat(filepath.Dir(f.explain)); err != nil { // before the work, not after it
			return fmt.Errorf("--explain: %w", err)
		}
	}
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	start := time.Now()
	model, err := pretrained.LoadAs(f.model, dev, f.storage)
	if err != nil {
		return err
	}
	defer model.Close()
	load := time.Since(start)
	if model.Config.Vision.None() && len(raw) > 0 {
		return usagef("--image: %s is a decoder that reads text alone; train it with vlmtool train --decoder first", f.model)
	}
	start = time.Now()
	pictures := make([][]byte, len(raw))
	for i, data := range raw {
		if pictures[i], err = preprocess(model.Config, f.images[i], data); err != nil {
			return fmt.Errorf("--image %w; take another picture, or save it anew with a program that opens it", err)
		}
	}
	s := &session{f: f, a: a, generator: generate.New(model), pictures: pictures}
	defer s.generator.Free()
	s.timings = inferTimings{LoadMS: ms(load), ImageMS: ms(time.Since(start))}
	if f.chat {
		return s.converse(ctx)
	}
	return s.once(ctx)
}

func (a *app) readImages(names []string) ([][]byte, error) {
	var out [][]byte
	for _, name := range names {
		data, err := a.readFile(name, smallfile.Picture)
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
	generator *generate.Generator
	pictures  [][]byte
	timings   inferTimings
}

// warnBlind says that a model of pictures is asked without one.
func (s *session) warnBlind() {
	if !s.generator.Config.Vision.None() && len(s.pictures) == 0 {
		slog.Warn("the model was trained on questions about pictures and is shown none; --image FILE shows it one")
	}
}

// once answers the prompt.
func (s *session) once(ctx context.Context) error {
	s.warnBlind()
	var prompt chat.Tokens
	var err error
	if s.f.raw {
		prompt, err = s.generator.Processor.Raw(s.f.prompt, len(s.pictures), s.f.bos)
	} else {
		prompt, err = s.encode([]chat.Message{{Role: "user", Content: s.f.prompt, Images: len(s.pictures)}})
	}
	if err != nil {
		return err
	}
	r, err := s.answer(ctx, prompt)
	if err == nil && s.f.explain != "" {
		r.Explain, err = s.explain(ctx, prompt, r.ids)
	}
	if err == nil && s.a.json {
		err = s.a.result(r)
	}
	return err
}

// encode is what the model sees before it speaks.
func (s *session) encode(messages []chat.Message) (chat.Tokens, error) {
	thinking := s.f.thinking
	return s.generator.Processor.Messages(messages, chat.Options{AddGenerationPrompt: true, Thinking: &thinking})
}

// preprocess decodes a picture to the pixels that the model sees.
func preprocess(c vlm.Config, name string, data []byte) ([]byte, error) {
	img, err := image.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return image.Preprocess(img, c.Vision.ImageSize), nil
}
