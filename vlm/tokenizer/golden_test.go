package tokenizer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/internal/golden"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

func load(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load(filepath.Join(golden.Model(t, name), "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// each runs a test for every tokenizer with golden files, read from tokenizer.json and from a
// GGUF vocabulary.
func each(t *testing.T, test func(t *testing.T, tok *tokenizer.Tokenizer, dir string)) {
	for _, name := range golden.Members(t, "tokenizers") {
		dir := golden.Dir(t, filepath.Join("tokenizers", name))
		tok := load(t, name)
		made := fromVocabulary(t, name, tok)
		t.Run(name, func(t *testing.T) { test(t, tok, dir) })
		t.Run(name+"/vocabulary", func(t *testing.T) { test(t, made, dir) })
	}
	t.Run(smolLM2+"/GGUF", func(t *testing.T) {
		path := os.Getenv("PATCHWORK_SMOLLM2_GGUF")
		if path == "" {
			t.Skip("PATCHWORK_SMOLLM2_GGUF names no file of " + smolLM2)
		}
		p, err := pretrained.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		l, err := p.Processor(0)
		if err != nil {
			t.Fatal(err)
		}
		test(t, l.Tokenizer, golden.Dir(t, filepath.Join("tokenizers", smolLM2)))
	})
}

// fromVocabulary converts a tokenizer to a GGUF vocabulary, padded with unused tokens, and
// back.
func fromVocabulary(t testing.TB, name string, tok *tokenizer.Tokenizer) *tokenizer.Tokenizer {
	t.Helper()
	var f struct {
		AddedTokens []struct {
			ID      int32
			Special bool
		} `json:"added_tokens"`
		Model struct{ Merges []any }
	}
	golden.JSON(t, filepath.Join(golden.Model(t, name), "tokenizer.json"), &f)
	v := tokenizer.Vocabulary{Pre: map[string]string{smolLM2: "smollm", "Qwen3": "qwen2"}[name]}
	for id := range int32(tok.Len()) {
		v.Tokens, v.Kinds = append(v.Tokens, tok.Token(id)), append(v.Kinds, tokenizer.KindNormal)
	}
	for _, a := range f.AddedTokens {
		v.Kinds[a.ID] = tokenizer.KindUserDefined
		if a.Special {
			v.Kinds[a.ID] = tokenizer.KindControl
		}
	}
	for i := range 64 {
		v.Tokens, v.Kinds = append(v.Tokens, fmt.Sprintf("[PAD%d]", tok.Len()+i)), append(v.Kinds, tokenizer.KindUnused)
	}
	for _, m := range f.Model.Merges {
		if pair, ok := m.([]any); ok {
			m = fmt.Sprint(pair[0], " ", pair[1])
		}
		v.Merges = append(v.Merges, m.(string))
	}
	made, err := tokenizer.FromVocabulary(v)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestGoldenTokenizers(t *testing.T) {
	type row struct {
		Text               string
		IDs                []int32 `json:"ids"`
		IDsPlain           []int32 `json:"ids_plain"`
		Decoded            string
		DecodedSkipSpecial string `json:"decoded_skip_special"`
		DecodedPlain       string `json:"decoded_plain"`
		Kind               string
		ID                 int
	}
	each(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		for _, r := range golden.Lines[row](t, filepath.Join(dir, "tokenizers.jsonl")) {
			what := fmt.Sprintf("text %d (%s) %q", r.ID, r.Kind, r.Text)
			same(t, what+": trusted", trustedIDs(tok, r.Text), r.IDs)
			same(t, what+": plain", plainIDs(tok, r.Text), r.IDsPlain)
			sameText(t, what, tok.Decode(r.IDs, false), r.Decoded)
			sameText(t, what, tok.Decode(r.IDs, true), r.DecodedSkipSpecial)
			sameText(t, what, tok.Decode(r.IDsPlain, false), r.DecodedPlain)
		}
	})
}

func TestGoldenDecode(t *testing.T) {
	type row struct {
		IDs                []int32 `json:"ids"`
		Decoded            string
		DecodedSkipSpecial string `json:"decoded_skip_special"`
	}
	each(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		for _, r := range golden.Lines[row](t, filepath.Join(dir, "decode.jsonl")) {
			what := fmt.Sprintf("ids %v", r.IDs)
			sameText(t, what, tok.Decode(r.IDs, false), r.Decoded)
			sameText(t, what, tok.Decode(r.IDs, true), r.DecodedSkipSpecial)
			sameText(t, what+" streamed", streamed(tok, r.IDs), r.Decoded)
		}
	})
}

func streamed(tok *tokenizer.Tokenizer, ids []int32) string {
	s, text := tok.NewStream(false), ""
	for _, id := range ids {
		text += s.Next(id)
	}
	return text + s.Flush()
}

func TestGoldenInfo(t *testing.T) {
	type info struct {
		Vocabulary   int
		ImageTokenID int32 `json:"image_token_id"`
		AddedTokens  []struct {
			ID      int32
			Content string
			Special bool
		} `json:"added_tokens"`
	}
	each(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		data, err := os.ReadFile(filepath.Join(dir, "info.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want info
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if tok.Len() != want.Vocabulary {
			t.Errorf("Len() = %d, want %d", tok.Len(), want.Vocabulary)
		}
		for _, a := range want.AddedTokens {
			if id, ok := tok.ID(a.Content); !ok || id != a.ID || tok.IsSpecial(id) != a.Special {
				t.Errorf("%q: id %d (%v), special %v; want %d, %v", a.Content, id, ok, tok.IsSpecial(id), a.ID, a.Special)
			}
		}
		id, err := tok.AddSpecial("<|image|>")
		if err != nil || id != want.ImageTokenID || tok.Len() != want.Vocabulary+1 {
			t.Errorf("AddSpecial: id %d of %d (%v), want %d", id, tok.Len(), err, want.ImageTokenID)
		}
	})
}

func same(t *testing.T, what string, got, want []int32) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %v\nwant %v", what, got, want)
	}
}

func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s\n got %q\nwant %q", what, got, want)
	}
}
