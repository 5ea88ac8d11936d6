package pretrained

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"patchwork/internal/golden"
	"patchwork/nn/gguf"
	"patchwork/vlm/tokenizer"
)

// gemmaForms is Gemma 3's tokenizer as it is in a GGUF file, with SentencePiece's scores; as the
// tokenizer.json made of it; and in the form of Gemma 4's GGUF files, with merges. They are read once.
var gemmaForms = sync.OnceValues(func() (forms [3]*tokenizer.Tokenizer, err error) {
	file, err := gguf.Open(os.Getenv("PATCHWORK_GEMMA3_GGUF"))
	if err != nil {
		return forms, err
	}
	defer file.Close()
	if forms[0], err = ggufTokenizer(file); err != nil {
		return forms, err
	}
	text, err := forms[0].MarshalJSON()
	if err != nil {
		return forms, err
	}
	if forms[1], err = tokenizer.Parse(text); err != nil {
		return forms, err
	}
	v, err := forms[0].Vocabulary()
	if err != nil {
		return forms, err
	}
	forms[2], err = tokenizer.FromVocabulary(v)
	return forms, err
})

func eachGemma(t *testing.T, test func(t *testing.T, tok *tokenizer.Tokenizer, dir string)) {
	if os.Getenv("PATCHWORK_GEMMA3_GGUF") == "" {
		t.Skip("PATCHWORK_GEMMA3_GGUF names no file of Gemma 3 270M")
	}
	dir := golden.Dir(t, "gemma3_270m")
	forms, err := gemmaForms()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"GGUF scores", "tokenizer.json", "GGUF merges"} {
		t.Run(name, func(t *testing.T) { test(t, forms[i], dir) })
	}
}

func TestGoldenGemmaTokenizer(t *testing.T) {
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
	eachGemma(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		for _, r := range golden.Lines[row](t, filepath.Join(dir, "tokenizer.jsonl")) {
			what := fmt.Sprintf("text %d (%s) %q", r.ID, r.Kind, r.Text)
			sameIDs(t, what+": trusted", encoded(t, tok, r.Text, true), r.IDs)
			sameIDs(t, what+": plain", encoded(t, tok, r.Text, false), r.IDsPlain)
			sameText(t, what, tok.Decode(r.IDs, false), r.Decoded)
			sameText(t, what, tok.Decode(r.IDs, true), r.DecodedSkipSpecial)
			sameText(t, what, tok.Decode(r.IDsPlain, false), r.DecodedPlain)
		}
	})
}

func TestGoldenGemmaDecode(t *testing.T) {
	type row struct {
		IDs     []int32 `json:"ids"`
		Decoded string
	}
	eachGemma(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		for _, r := range golden.Lines[row](t, filepath.Join(dir, "decode.jsonl")) {
			what := fmt.Sprintf("ids %v", r.IDs)
			sameText(t, what, tok.Decode(r.IDs, false), r.Decoded)
			sameText(t, what+" streamed", streamed(tok, r.IDs), r.Decoded)
		}
	})
}

// The prompts and the text of the model's golden logits, which begin with bos.
func TestGoldenGemmaPrompts(t *testing.T) {
	type text struct {
		Text string
		IDs  []int32 `json:"ids"`
	}
	eachGemma(t, func(t *testing.T, tok *tokenizer.Tokenizer, dir string) {
		var long text
		var short struct{ Prompts []text }
		golden.JSON(t, filepath.Join(dir, "text.json"), &long)
		golden.JSON(t, filepath.Join(dir, "prompts.json"), &short)
		before, after := tok.Around()
		if len(after) > 0 {
			t.Errorf("tokens %v after a text", after)
		}
		for _, one := range append(short.Prompts, long) {
			sameIDs(t, fmt.Sprintf("%.60q", one.Text), slices.Concat(before, encoded(t, tok, one.Text, false)), one.IDs)
		}
	})
}

func encoded(t *testing.T, tok *tokenizer.Tokenizer, text string, trusted bool) []int32 {
	t.Helper()
	ids, err := tok.Encode(tokenizer.Piece{Text: text, Trusted: trusted})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func streamed(tok *tokenizer.Tokenizer, ids []int32) string {
	s, text := tok.NewStream(false), ""
	for _, id := range ids {
		text += s.Next(id)
	}
	return text + s.Flush()
}

func sameIDs(t *testing.T, what string, got, want []int32) {
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

func BenchmarkGemmaTokenizer(b *testing.B) {
	path := os.Getenv("PATCHWORK_GEMMA3_GGUF")
	if path == "" {
		b.Skip("PATCHWORK_GEMMA3_GGUF names no file of Gemma 3 270M")
	}
	file, err := gguf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var tok *tokenizer.Tokenizer
	b.Run("Load", func(b *testing.B) {
		for b.Loop() {
			if tok, err = ggufTokenizer(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	text := strings.Repeat("The photograph shows a small brown dog that runs over a green field, 3 children behind it. ", 1000)
	b.Run("Encode", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := tok.EncodePlain(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
