package main

import (
	"fmt"

	"patchwork/internal/smallfile"
	"patchwork/vlm/chat"
	"patchwork/vlm/importer"
	"patchwork/vlm/pretrained"
)

// rendered is inspect --render's line of JSON.
type rendered struct {
	Prompt string  `json:"prompt"` // the text, <|image|> once for every patch
	IDs    []int32 `json:"ids"`
	Loss   []bool  `json:"loss"` // which of the ids training on answers learns
	Ends   []int32 `json:"ends"` // the ids at which generation stops
}

// inspectRender prints a conversation as the model reads it. One that ends with a
// question is a prompt, which is answered next.
func (a *app) inspectRender(model, file string) error {
	text, err := a.readFile(file, smallfile.Config)
	if err != nil {
		return fmt.Errorf("--render %w", err)
	}
	decoded, err := importer.DecodeText(text)
	if err != nil {
		return fmt.Errorf("--render %s %w", file, err)
	}
	messages, err := parseMessages([]byte(decoded))
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
	return a.result(rendered{l.Tokenizer.Decode(tokens.IDs, false), tokens.IDs, tokens.Answer, l.EndIDs()})
}

// readFile reads a file of at most limit bytes, or standard input where the name is -.
func (a *app) readFile(name string, limit int64) ([]byte, error) {
	if name == "-" {
		return smallfile.ReadFrom(a.stdin, "standard input", limit)
	}
	return smallfile.Read(name, limit)
}
