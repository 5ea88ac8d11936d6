package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

const preset = "../../vlm/pretrained/presets/shapes"

func TestFresh(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(preset, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): go run ./tools/shapestokenizer vlm/pretrained/presets/shapes", name, err)
		}
	}
}

// TestWordsAreOneToken: every word of easy-VQA is one token in its questions and answers.
func TestWordsAreOneToken(t *testing.T) {
	tok, err := tokenizer.Load(filepath.Join(preset, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	first := "what is does yes no circle rectangle triangle red green blue black gray teal brown yellow"
	inside := "shape the a image there not is present contain in color no does of circle rectangle triangle red green blue black gray teal brown yellow"
	demo := "square star two one how"
	words := strings.Fields(first + " " + demo)
	for _, word := range strings.Fields(inside + " square star shapes are on many left right") {
		words = append(words, " "+word)
	}
	for _, word := range append(words, "?") {
		if ids := plainIDs(tok, word); len(ids) != 1 {
			t.Errorf("%q is %d tokens", word, len(ids))
		}
	}
}

func TestTemplateIsCompact(t *testing.T) {
	tok, err := tokenizer.Load(filepath.Join(preset, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(preset, "tokenizer_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	e, err := chat.NewEncoder(tok, template, 64)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Len() != 384 || e.ImageID() != 383 {
		t.Errorf("%d tokens, the image's is %d; want 384 and 383", tok.Len(), e.ImageID())
	}
	got, err := e.SharedPrefix(chat.Conversation{Images: 1, Turns: []chat.Turn{{User: "is there a circle?", Assistant: "yes"}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Prefix.IDs); n != 1+64 {
		t.Errorf("a prefix of %d tokens, want 65", n)
	}
	const words = 6 // is there a circle ? yes
	if n := len(got.Turns[0].IDs); n != words+2 {
		t.Errorf("a branch of %d tokens, want %d", n, words+2)
	}
	if text := tok.Decode(got.Turns[0].IDs, false); text != "is there a circle?<|assistant|>yes<|end|>" {
		t.Errorf("the branch is %q", text)
	}
}

// plainIDs encodes a text that needs no error handling.
func plainIDs(tok *tokenizer.Tokenizer, text string) []int32 {
	ids, err := tok.EncodePlain(text)
	if err != nil {
		panic(err)
	}
	return ids
}
