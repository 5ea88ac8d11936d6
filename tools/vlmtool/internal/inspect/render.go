package inspect

import (
	"errors"
	"fmt"

	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm"
	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/importer"
	"patchwork/vlm/pretrained"
)

// Rendered is inspect --render's line of JSON.
type Rendered struct {
	Prompt string  `json:"prompt"` // the text, with <|image|> for every patch and <|audio|> for every frame
	IDs    []int32 `json:"ids"`
	Loss   []bool  `json:"loss"` // the ids that are targets of --loss answers
	Ends   []int32 `json:"ends"` // the ids that end generation
}

// render prints a conversation as the model reads it. One that ends with a question gets
// the generation prompt.
func render(a *cli.App, model, file string) error {
	text, err := a.ReadFile(file, smallfile.Config)
	if err != nil {
		return fmt.Errorf("--render %w", err)
	}
	decoded, err := importer.DecodeText(text)
	if err != nil {
		return fmt.Errorf("--render %s %w", file, err)
	}
	sound, err := pretrained.AudioConfig(model)
	if err != nil {
		return err
	}
	messages, err := parseMessages([]byte(decoded), listener(sound))
	if err != nil {
		return fmt.Errorf("--render %s: %w", file, err)
	}
	l, err := pretrained.OpenProcessor(model)
	if err != nil {
		return err
	}
	o := chat.Options{AddGenerationPrompt: messages[len(messages)-1].Role != "assistant"}
	if o.AddGenerationPrompt {
		o.Thinking = new(bool) // as infer asks without --thinking
	}
	tokens, err := l.Messages(messages, o)
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	return a.Result(Rendered{l.Tokenizer.Decode(tokens.IDs, false), tokens.IDs, tokens.LossMask, l.EOSIDs()})
}

// listen returns the number of tokens of a sound file.
type listen func(file []byte) (int, error)

// listener returns what counts a model's tokens of sound.
func listener(a vlm.AudioConfig) listen {
	return func(file []byte) (int, error) {
		if a.None() {
			return 0, errors.New("the model takes no sound")
		}
		samples, _, err := audio.Decode(file, a.SampleRate)
		return a.Tokens(len(samples)), err
	}
}
