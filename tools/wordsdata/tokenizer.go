package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

// vocabulary is the most ids without <|audio|>; the texts have merges for fewer.
const vocabulary = 383

// writeTokenizer writes tokenizer.json, in which every word is one token, and the chat template of
// the shapes preset.
func writeTokenizer(dir string) error {
	shapes, err := pretrained.Presets.ReadFile("presets/shapes/tokenizer_config.json")
	if err != nil {
		return err
	}
	var named struct {
		Generator string `json:"generator"`
		EOS       string `json:"eos_token"`
	}
	if err := json.Unmarshal(shapes, &named); err != nil {
		return err
	}
	tok, err := tokenizer.Train(texts, vocabulary, []string{named.EOS, "<|user|>", "<|assistant|>"})
	if err != nil {
		return err
	}
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	config := strings.Replace(string(shapes), named.Generator, "tools/wordsdata", 1)
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o644)
}

// texts yields the question and the answers, as often as their merges are to be preferred.
func texts(yield func(string) bool) {
	for range 10 {
		if !yield(question) {
			return
		}
	}
	for _, word := range words {
		for range 10 {
			if !yield(word) {
				return
			}
		}
	}
}
