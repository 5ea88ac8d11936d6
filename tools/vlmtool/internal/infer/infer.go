// Package infer is vlmtool infer: questions about images and sound, and chat.
package infer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/pretrained"
)

// heapGrowth is how many percent the heap may grow before it is collected.
const heapGrowth = 25

type inferFlags struct {
	model, prompt       string
	bos                 string // with raw
	explain             string // PNG file to write
	storage             cli.Storage
	imageFiles          []string
	audioFiles          []string
	frames              string // list of a video's frames
	raw, chat, thinking bool
	dryRun              bool
	context             int // tokens, of --dry-run
	imageTokens         int
	options             generate.Options
}

// Command is vlmtool infer.
func Command(a *cli.App) *cobra.Command {
	f := &inferFlags{}
	c := &cobra.Command{
		Use:   "infer --model DIR|FILE.gguf [--image FILE]… [--audio FILE]… --prompt TEXT",
		Short: "Ask a model about images or sound",
		Long: `Answers a question about images or sound, or chats about them in the terminal. Decoding is
greedy, so that the same question gets the same answer, unless --temperature is above 0.`,
		Example: `  # the model that make demo trains
  vlmtool infer --model demo/model --image demo/example.png --prompt "what color is the triangle?"
  # chat about an image
  vlmtool infer --model demo/model --image demo/example.png --chat
  # the image from standard input, the answer as JSON
  vlmtool infer --model demo/model --image - --prompt "what shape is blue?" --json < demo/example.png
  # a word that the model of make demo-audio has not heard in this voice
  vlmtool infer --model demo-audio/model --audio demo-audio/example.wav --prompt "what word is it?"`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.dryRun {
				return f.dry(a)
			}
			return f.run(c.Context(), a)
		},
	}
	s, sampling := c.Flags(), &f.options.Sampling
	s.StringVar(&f.model, "model", "", "load the model at `PATH`: a model's folder, or a text-only decoder as a Hugging Face folder or GGUF file")
	s.StringArrayVar(&f.imageFiles, "image", nil, "read an image from `FILE`, - = standard input; can be repeated")
	s.StringVar(&f.frames, "frames", "", "read the frames of a video from `FILE`, a line of {\"image\": FILE, \"time\": SECONDS} each; they come after the images")
	cli.ImageTokensFlag(s, &f.imageTokens)
	s.StringArrayVar(&f.audioFiles, "audio", nil, "read sound from `FILE`, - = standard input: WAV, FLAC, MP3 or Ogg Vorbis; can be repeated. <|audio|> in the prompt is the place of a clip; without, the clips come before it")
	s.StringVar(&f.prompt, "prompt", "", "ask `TEXT`")
	s.BoolVar(&f.raw, "raw", false, "use the prompt as it is, without the chat template")
	cli.BOSFlag(s, &f.bos, "with --raw: ")
	s.BoolVar(&f.chat, "chat", false, "chat in the terminal; type /help there for its commands")
	s.BoolVar(&f.thinking, "thinking", false, "enable the thinking mode of models that have one")
	cli.Group(c, "Decoding", func(s *pflag.FlagSet) {
		s.IntVar(&f.options.MaxNewTokens, "max-new-tokens", 256, "maximum length of the answer in tokens")
		s.Float64Var(&sampling.RepetitionPenalty, "repetition-penalty", 1, "above 1: make tokens that occurred before less likely")
		s.Float64Var(&sampling.Temperature, "temperature", 0, "sampling temperature; 0 = greedy decoding")
		s.IntVar(&sampling.TopK, "top-k", 0, "sample from the k most likely tokens; 0 = all")
		s.Float64Var(&sampling.TopP, "top-p", 1, "sample from the most likely tokens whose probabilities add up to p")
		s.Uint64Var(&sampling.Seed, "seed", 0, "random seed of sampling")
	})
	cli.Group(c, "Output", func(s *pflag.FlagSet) {
		s.StringVar(&f.explain, "explain", "", "draw the attention on the image before each word of the answer into a PNG `FILE`")
	})
	cli.Group(c, "Without an answer", func(s *pflag.FlagSet) {
		s.BoolVar(&f.dryRun, "dry-run", false, "print the memory that the model takes, by parts; of a folder only config.json is needed")
		s.IntVar(&f.context, "context", 8192, "with --dry-run: tokens of prompt and answer")
	})
	cli.Group(c, "Device", func(s *pflag.FlagSet) {
		f.storage.Declare(s)
		device.Flag(a, s)
	})
	return c
}

func (f *inferFlags) check() error {
	s := f.options.Sampling
	switch {
	case f.model == "":
		return usage.Errorf("--model is missing: a model's folder")
	case f.context < 2:
		return usage.Errorf("--context cannot be %d, want 2 or more", f.context)
	case f.dryRun:
		return f.storage.Check()
	case f.prompt == "" && !f.chat:
		return usage.Errorf("--prompt is missing: the question")
	case !utf8.ValidString(f.prompt):
		return usage.Errorf("--prompt is not in UTF-8; set the terminal to UTF-8, or convert the text with iconv -f WINDOWS-1252 -t UTF-8")
	case f.raw && f.chat:
		return usage.Errorf("--raw and --chat are both given; one is enough")
	case f.options.MaxNewTokens < 1:
		return usage.Errorf("--max-new-tokens cannot be %d, want 1 or more", f.options.MaxNewTokens)
	case s.Temperature < 0 || s.TopK < 0 || s.TopP <= 0 || s.TopP > 1:
		return usage.Errorf("--temperature and --top-k must be 0 or above, --top-p above 0 and at most 1")
	case s.RepetitionPenalty <= 0:
		return usage.Errorf("--repetition-penalty cannot be %g; 1 is none", s.RepetitionPenalty)
	case f.explain != "" && f.chat:
		return usage.Errorf("--explain draws one answer; use --prompt instead of --chat")
	case f.explain != "" && len(f.imageFiles) == 0:
		return usage.Errorf("--explain draws attention on an image; --image is missing")
	case f.explain != "" && len(f.audioFiles) > 0:
		return usage.Errorf("--explain draws attention on images alone; leave --audio out")
	}
	switch {
	case f.frames != "" && f.chat:
		return usage.Errorf("--frames and --chat are both given; ask about a video with --prompt")
	case f.frames != "" && f.raw:
		return usage.Errorf("--frames and --raw are both given; frames need the chat template")
	case f.frames != "" && f.explain != "":
		return usage.Errorf("--explain draws attention on images; use --image instead of --frames")
	}
	if err := cli.CheckImageTokens(f.imageTokens); err != nil {
		return err
	}
	return cmp.Or(f.checkStdin(), f.storage.Check())
}

// checkStdin checks that one thing at most is read from standard input.
func (f *inferFlags) checkStdin() error {
	readers := 0
	for _, name := range slices.Concat(f.imageFiles, f.audioFiles) {
		if name == "-" {
			readers++
		}
	}
	switch {
	case readers == 1 && f.chat && slices.Contains(f.imageFiles, "-"):
		return usage.Errorf("--image - and --chat both read standard input; give the image as a file")
	case readers == 1 && f.chat:
		return usage.Errorf("--audio - and --chat both read standard input; give the sound as a file")
	case readers > 1 && slices.Contains(f.audioFiles, "-"):
		return usage.Errorf("standard input is read once; give the other images and sounds as files")
	}
	return nil
}
func (f *inferFlags) run(ctx context.Context, a *cli.App) error {
	raw, err := readFiles(a, "--image", f.imageFiles, smallfile.Image)
	if err != nil {
		return err
	}
	sound, err := readFiles(a, "--audio", f.audioFiles, smallfile.Sound)
	if err != nil {
		return err
	}
	var frames []frame
	if f.frames != "" {
		if frames, err = readFrames(f.frames); err != nil {
			return fmt.Errorf("--frames %w", err)
		}
	}
	if f.explain != "" {
		if _, err := os.Stat(filepath.Dir(f.explain)); err != nil { // before the work, not after it
			return fmt.Errorf("--explain: %w", err)
		}
	}
	dev, err := device.Open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	// Weights and cache are not on Go's heap, which is small: collecting it often is cheap.
	debug.SetGCPercent(heapGrowth)
	start := time.Now()
	model, err := pretrained.LoadWith(f.model, dev, f.storage.Options())
	if err != nil {
		return err
	}
	defer model.Close()
	load := time.Since(start)
	debug.FreeOSMemory() // what loading left
	if err := cmp.Or(f.checkTakes(model.Config), cli.SetImageTokens(&model.Config.Vision, f.imageTokens, f.model)); err != nil {
		return err
	}
	start = time.Now()
	images, grids := make([][]byte, len(raw)), make([]chat.Grid, len(raw))
	for i, data := range raw {
		if images[i], grids[i], err = preprocess(model.Config, f.imageFiles[i], data); err != nil {
			return fmt.Errorf("--image %w; use another image, or save it again with a program that opens it", err)
		}
	}
	stills, video, err := prepareFrames(model.Config, frames)
	if err != nil {
		return fmt.Errorf("--frames %s: %w", f.frames, err)
	}
	clips := make([][]float32, len(sound))
	for i, data := range sound {
		if clips[i], _, err = audio.Decode(data, model.Config.Audio.SampleRate); err != nil {
			return fmt.Errorf("--audio %s: %w", f.audioFiles[i], err)
		}
	}
	s := &session{f: f, a: a, generator: generate.New(model), images: append(images, stills...), grids: grids, video: video, clips: clips}
	defer s.generator.Close()
	s.timings = timings{LoadMS: ms(load), ImageMS: ms(time.Since(start))}
	if f.chat {
		return s.converse(ctx)
	}
	return s.once(ctx)
}

// checkTakes returns an error for files of a kind that the model does not take.
func (f *inferFlags) checkTakes(c vlm.Config) error {
	switch {
	case f.frames != "" && c.Vision.None():
		return usage.Errorf("--frames: %s takes no images", f.model)
	case len(f.imageFiles) > 0 && c.TextOnly():
		return usage.Errorf("--image: %s is a text-only decoder; train it on images with vlmtool train --decoder first", f.model)
	case len(f.imageFiles) > 0 && c.Vision.None():
		return usage.Errorf("--image: %s takes no images, only sound", f.model)
	case len(f.audioFiles) > 0 && c.TextOnly():
		return usage.Errorf("--audio: %s is a text-only decoder, which hears nothing", f.model)
	case len(f.audioFiles) > 0 && c.Audio.None():
		return usage.Errorf("--audio: %s takes no sound, only images", f.model)
	}
	return nil
}

// readFiles reads the files of a flag.
func readFiles(a *cli.App, flag string, names []string, limit int64) ([][]byte, error) {
	var out [][]byte
	for _, name := range names {
		data, err := a.ReadFile(name, limit)
		if err != nil {
			return nil, fmt.Errorf("%s %w", flag, err)
		}
		out = append(out, data)
	}
	return out, nil
}

// session is a model with the images and the sound that the questions are about.
type session struct {
	f         *inferFlags
	a         *cli.App
	generator *generate.Generator
	images    [][]byte
	grids     []chat.Grid  // of the images
	video     []chat.Frame // of the images after those with grids
	clips     [][]float32  // samples
	timings   timings
}

// warnNoFile warns when a model that takes images or sound is asked without one.
func (s *session) warnNoFile() {
	c := s.generator.Config
	switch {
	case c.TextOnly() || c.IsGemma() || len(s.images)+len(s.clips) > 0: // a Gemma answers without too
	case c.Vision.None():
		slog.Warn("the model was trained on questions about sound, but none was given; --audio FILE adds it")
	default:
		slog.Warn("the model was trained on questions about images, but no image was given; --image FILE adds one")
	}
}

// tokens returns the number of tokens of each clip from one on.
func (s *session) tokens(from int) (out []int) {
	for _, samples := range s.clips[from:] {
		out = append(out, s.generator.Config.Audio.Tokens(len(samples)))
	}
	return out
}

// once answers the prompt.
func (s *session) once(ctx context.Context) error {
	s.warnNoFile()
	var prompt chat.Tokens
	var err error
	if s.f.raw {
		prompt, err = s.generator.Processor.Raw(s.f.prompt, s.grids, s.tokens(0), s.f.bos)
	} else {
		prompt, err = s.encode([]chat.Message{{Role: "user", Content: s.f.prompt, Images: len(s.grids), Grids: s.grids, Video: s.video, Clips: s.tokens(0)}})
	}
	if err != nil {
		return err
	}
	r, err := s.answer(ctx, prompt)
	if err == nil && s.f.explain != "" {
		r.Explain, err = s.explain(ctx, prompt, r.ids)
	}
	if err == nil && s.a.JSON {
		err = s.a.Result(r)
	}
	return err
}

// encode is the prompt of a conversation, with the chat template.
func (s *session) encode(messages []chat.Message) (chat.Tokens, error) {
	thinking := s.f.thinking
	return s.generator.Processor.Messages(messages, chat.Options{AddGenerationPrompt: true, Thinking: &thinking})
}

// preprocess decodes an image and makes it the model's size. It returns its patches too.
func preprocess(c vlm.Config, name string, data []byte) (pixels []byte, grid chat.Grid, err error) {
	pixels, w, h, err := image.PrepareFit(data, c.Vision.Fit())
	if err == nil {
		grid, err = c.Vision.ImageGrid(w, h)
	}
	if err != nil {
		return nil, grid, fmt.Errorf("%s: %w", name, err)
	}
	return pixels, grid, nil
}
