package tokenizer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/vlm/tokenizer"
)

// TestRecordedSentencePiece compares tokenizers like Gemma's with results of Hugging Face's
// tokenizers (testdata/sentencepiece/record.py).
func TestRecordedSentencePiece(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "sentencepiece", "recorded.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Texts   []string
		Entries []struct {
			Name      string
			Tokenizer json.RawMessage
			IDs       [][]int32
			Decoded   []string
		}
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Entries) < 30 {
		t.Fatalf("%d entries", len(recorded.Entries))
	}
	for _, e := range recorded.Entries {
		t.Run(e.Name, func(t *testing.T) {
			tok, err := tokenizer.Parse(e.Tokenizer)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range recorded.Texts {
				ids, starts := offsets(tok, tokenizer.Piece{Text: text, Trusted: true})
				same(t, text, ids, e.IDs[i])
				if !slices.IsSorted(starts) || len(starts) > 0 && (starts[0] != 0 || int(starts[len(starts)-1]) >= len(text)) {
					t.Errorf("%q: offsets %v", text, starts)
				}
				sameText(t, text+" decoded", tok.Decode(ids, false), e.Decoded[i])
				sameText(t, text+" streamed", streamed(tok, ids), e.Decoded[i])
			}
		})
	}
}

// The bytes of text that is no token, where they are not whole characters.
func TestByteFallback(t *testing.T) {
	tok, err := tokenizer.Parse([]byte(`{"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]},
		"model":{"type":"BPE","byte_fallback":true,"vocab":{"<0xE2>":0,"<0x82>":1,"<0xAC>":2,"▁a":3,"<0xFF>":4}}}`))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ids", plainIDs(tok, "€"), []int32{0, 1, 2})
	for _, test := range []struct {
		ids  []int32
		want string
	}{
		{[]int32{0, 1, 2, 3}, "€ a"}, {[]int32{0, 1, 3}, "\uFFFD\uFFFD a"}, {[]int32{0, 1}, "\uFFFD\uFFFD"}, {[]int32{4, 0, 1, 2, 4}, "\uFFFD€\uFFFD"}, {[]int32{0, 0, 1, 2}, "\uFFFD€"},
	} {
		sameText(t, "decoded", tok.Decode(test.ids, false), test.want)
		sameText(t, "streamed", streamed(tok, test.ids), test.want)
	}
}
