package main

import (
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"patchwork/vlm/tokenizer"
)

// size is without <|image|>, which has the last of 384 ids.
const size = 383

var specials = []string{"<|end|>", "<|user|>", "<|assistant|>"}

// corpus are texts with their counts; merges of frequent texts come first.
var corpus = []struct {
	count int
	texts []string
}{
	// easy-VQA's questions and answers: each word of them is one token.
	{1000, []string{
		"what is the color of the shape?", "what color is the circle?", "what shape is in the image?",
		"what shape does the image contain?", "does the image not contain a rectangle?",
		"is there a triangle in the image?", "is there not a circle?", "is no triangle present?", "is a rectangle present?",
		"a red a green a blue a black a gray a teal a brown a yellow",
		"circle", "rectangle", "triangle", "red", "green", "blue", "black", "gray", "teal", "brown", "yellow", "yes", "no",
	}},
	// Words of a demo about shapes, in order of importance, until the vocabulary is full.
	{100, []string{"a square", "square"}},
	{90, []string{"how many"}},
	{80, []string{"two", "one"}},
	{70, []string{"is shapes"}},
	{60, []string{"is on"}},
	{50, []string{"is left"}},
	{40, []string{"is right"}},
	{30, []string{"is are"}},
	{20, []string{"a star", "star"}},
	{10, []string{"three"}},
}

func texts() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, part := range corpus {
			for range part.count {
				for _, text := range part.texts {
					if !yield(text) {
						return
					}
				}
			}
		}
	}
}

// chatTemplate is minimal: the text, one token before the answer and one after it. A
// system message comes first.
const chatTemplate = `{%- for message in messages %}
{%- if message.role == 'assistant' %}{{ '<|assistant|>' + message.content + '<|end|>' }}
{%- elif message.role == 'user' %}{{ '<|user|>' + message.content }}
{%- else %}{{ message.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}`

// write makes tokenizer.json and tokenizer_config.json in dir.
func write(dir string) error {
	tok, err := tokenizer.Train(texts(), size, specials)
	if err != nil {
		return err
	}
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	var config strings.Builder
	enc := json.NewEncoder(&config)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(struct {
		Generator    string `json:"generator"`
		Class        string `json:"tokenizer_class"`
		EOS          string `json:"eos_token"`
		Pad          string `json:"pad_token"`
		CleanUp      bool   `json:"clean_up_tokenization_spaces"`
		ChatTemplate string `json:"chat_template"`
	}{"tools/shapestokenizer", "PreTrainedTokenizerFast", specials[0], specials[0], false, chatTemplate}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config.String()), 0o644)
}
