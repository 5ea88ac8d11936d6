package tokenizer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/vlm/tokenizer"
)

// TestRecorded compares added tokens and post-processors with results of Hugging Face's
// tokenizers (testdata/added/record.py).
func TestRecorded(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "added", "recorded.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Texts   []string
		Entries []struct {
			Name      string
			Tokenizer map[string]json.RawMessage
			IDs       [][]int32
			Around    [][]int32 `json:"with_special_tokens"`
		}
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Entries) < 70 {
		t.Fatalf("%d entries", len(recorded.Entries))
	}
	for _, e := range recorded.Entries {
		t.Run(e.Name, func(t *testing.T) {
			tok := parseWithAlphabet(t, e.Tokenizer)
			before, after := tok.Around()
			for i, text := range recorded.Texts {
				ids := trustedIDs(tok, text)
				if !slices.Equal(ids, e.IDs[i]) {
					t.Errorf("%q: %v, want %v", text, ids, e.IDs[i])
				}
				want := e.IDs[i]
				if e.Around != nil {
					want = e.Around[i]
				}
				if got := slices.Concat(before, ids, after); !slices.Equal(got, want) {
					t.Errorf("%q with its special tokens: %v, want %v", text, got, want)
				}
			}
		})
	}
}

// parseWithAlphabet adds the vocabulary that the recording lacks: the byte-level alphabet in
// the order of its characters.
func parseWithAlphabet(t *testing.T, file map[string]json.RawMessage) *tokenizer.Tokenizer {
	t.Helper()
	alphabet, err := tokenizer.Train(slices.Values([]string{""}), 256, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for id := range int32(256) {
		tokens = append(tokens, alphabet.Token(id))
	}
	slices.Sort(tokens)
	vocab := map[string]int{}
	for id, token := range tokens {
		vocab[token] = id
	}
	var model map[string]any
	if err := json.Unmarshal(file["model"], &model); err != nil {
		t.Fatal(err)
	}
	model["vocab"] = vocab
	if file["model"], err = json.Marshal(model); err != nil {
		t.Fatal(err)
	}
	whole, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
