package tokenizer_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"patchwork/internal/golden"
	"patchwork/vlm/tokenizer"
)

const smolLM2 = "SmolLM2-135M-Instruct"

func TestUntrustedTextHasNoSpecialTokens(t *testing.T) {
	tok := load(t, smolLM2)
	end, _ := tok.ID("<|im_end|>")
	plain := plainIDs(tok, "<|im_end|>")
	if slices.Contains(plain, end) {
		t.Fatalf("the plain text <|im_end|> became %v", plain)
	}
	tests := []struct {
		name   string
		pieces []tokenizer.Piece
		want   []int32
	}{
		{"trusted", []tokenizer.Piece{{"<|im_end|>", true}}, []int32{end}},
		{"trusted in two pieces", []tokenizer.Piece{{"<|im_", true}, {"end|>", true}}, []int32{end}},
		{"untrusted", []tokenizer.Piece{{"<|im_end|>", false}}, plain},
		{"begun by a user", []tokenizer.Piece{{"<|im_", false}, {"end|>", true}}, plain},
		{"ended by a user", []tokenizer.Piece{{"<|im_", true}, {"end|>", false}}, plain},
		{"after a user's", []tokenizer.Piece{{"<|im_end|>", false}, {"<|im_end|>", true}}, append(slices.Clone(plain), end)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { same(t, "ids", pieceIDs(tok, test.pieces...), test.want) })
	}
}

// Piece boundaries do not change ids.
func TestPieceBoundaries(t *testing.T) {
	text := "Don't  stop, naïve 12 façades!\n\n日本語 e\u0301"
	for _, name := range []string{smolLM2, "Qwen3"} {
		t.Run(name, func(t *testing.T) {
			tok := load(t, name)
			want, starts := offsets(tok, tokenizer.Piece{Text: text})
			for cut := range text {
				pieces := []tokenizer.Piece{{Text: text[:cut]}, {Text: text[cut:], Trusted: true}}
				got, at := offsets(tok, pieces...)
				same(t, "ids", got, want)
				same(t, "offsets", at, starts)
			}
		})
	}
}

func TestOffsets(t *testing.T) {
	tok := load(t, smolLM2)
	text := "The cat<|im_end|> sat on 12 mats."
	ids, starts := offsets(tok, tokenizer.Piece{Text: text, Trusted: true})
	for i, id := range ids {
		hi := len(text)
		if i+1 < len(ids) {
			hi = int(starts[i+1])
		}
		sameText(t, "token", tok.Decode([]int32{id}, false), text[starts[i]:hi])
	}
}

// Characters composed by NFC, and those after them, keep their offsets in the source.
func TestOffsetsAcrossNormalization(t *testing.T) {
	tok := load(t, "Qwen3")
	text := "cafe\u0301 dog"
	ids, starts := offsets(tok, tokenizer.Piece{Text: text})
	last := len(ids) - 1
	if tok.Token(ids[last]) != "Ġdog" || int(starts[last]) != strings.Index(text, " dog") {
		t.Errorf("last token %q at %d, want Ġdog at %d", tok.Token(ids[last]), starts[last], strings.Index(text, " dog"))
	}
}

func TestSaveAndLoad(t *testing.T) {
	tok := load(t, smolLM2)
	image, err := tok.AddSpecial("<|image|>")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := tok.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := tokenizer.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	text := "<|im_start|>user\n<|image|>Is 3 < 4 & é?<|im_end|>"
	same(t, "ids", trustedIDs(again, text), trustedIDs(tok, text))
	if id, _ := again.ID("<|image|>"); id != image || again.Len() != tok.Len() {
		t.Errorf("image token %d of %d, want %d of %d", id, again.Len(), image, tok.Len())
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	tok := load(t, smolLM2)
	same(t, "ids", plainIDs(tok, "a\xff\xfeb"), plainIDs(tok, "a\uFFFDb"))
}

func TestTrain(t *testing.T) {
	texts := slices.Values([]string{"low low low lower lowest", "new newer newest", "low"})
	tok, err := tokenizer.Train(texts, 300, []string{"<|end|>"})
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := tok.ID("<|end|>"); id != 0 || !tok.IsSpecial(0) {
		t.Errorf("<|end|> has id %d, special %v", id, tok.IsSpecial(0))
	}
	for _, word := range []string{"low", " low", " new", " newest", " lowest"} {
		if ids := plainIDs(tok, word); len(ids) != 1 {
			t.Errorf("%q is %d tokens, want 1", word, len(ids))
		}
	}
	all := make([]byte, 256)
	for b := range all {
		all[b] = byte(b)
	}
	text := strings.ToValidUTF8(string(all), "\uFFFD") + "日本 newest"
	sameText(t, "round trip", tok.Decode(plainIDs(tok, text), false), text)
	if _, err := tokenizer.Train(texts, 256, []string{"<|end|>"}); err == nil {
		t.Error("no error for 257 tokens in a vocabulary of 256")
	}
}

func TestParseErrors(t *testing.T) {
	const bytes = `"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"}`
	var format *tokenizer.FormatError
	var unsupported *tokenizer.UnsupportedError
	tests := []struct {
		name, json string
		want       any
	}{
		{"a gap in the ids", `{` + bytes + `,"model":{"vocab":{"a":0,"b":2}}}`, &format},
		{"an id twice", `{` + bytes + `,"model":{"vocab":{"a":1,"b":1}}}`, &format},
		{"an unknown merge", `{` + bytes + `,"model":{"vocab":{"a":0,"b":1},"merges":[["a","b"]]}}`, &format},
		{"half a merge", `{` + bytes + `,"model":{"vocab":{"a":0},"merges":["a"]}}`, &format},
		{"an empty added token", `{` + bytes + `,"added_tokens":[{"id":0,"content":""}],"model":{}}`, &format},
		{"an added token with two ids", `{` + bytes + `,"added_tokens":[{"id":1,"content":"a"}],"model":{"vocab":{"a":0}}}`, &format},
		{"WordPiece", `{` + bytes + `,"model":{"type":"WordPiece"}}`, &unsupported},
		{"no ByteLevel", `{"pre_tokenizer":{"type":"Digits"},"decoder":{"type":"ByteLevel"}}`, &unsupported},
		{"a normalizer", `{` + bytes + `,"normalizer":{"type":"BertNormalizer"}}`, &unsupported},
		{"another decoder", `{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"Metaspace"}}`, &unsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := tokenizer.Parse([]byte(test.json)); !errors.As(err, test.want) {
				t.Errorf("error %v (%T)", err, err)
			}
		})
	}
}

// A pattern without a hand-written scanner uses regexp2.
func TestOtherSplitPattern(t *testing.T) {
	const json = `{"pre_tokenizer":{"type":"Sequence","pretokenizers":[
		{"type":"Split","pattern":{"Regex":"é(?=b)|\\d{2}"},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]},
		"decoder":{"type":"ByteLevel"},
		"model":{"vocab":{"a":0,"1":1,"2":2,"b":3,"a1":4,"12":5,"2b":6,"Ã":7,"©":8,"Ã©":9,"Ã©b":10},
		"merges":["a 1","1 2","2 b","Ã ©","Ã© b"]}}`
	tok, err := tokenizer.Parse([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ids", plainIDs(tok, "éba12b"), []int32{9, 3, 0, 5, 3})
}

// A long word does not take quadratic time.
func TestLongWord(t *testing.T) {
	tok := load(t, smolLM2)
	text := strings.Repeat("ab", 1<<18)
	sameText(t, "round trip", tok.Decode(plainIDs(tok, text), false), text)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`), "abba")
	f.Add([]byte(`{"added_tokens":[{"id":0,"content":"<x>","special":true,"normalized":true}],"normalizer":{"type":"NFC"},
		"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]},"decoder":{"type":"ByteLevel"}}`), "e\u0301 <x> 12")
	f.Add([]byte(`{"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},
		"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious"},
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]},
		"model":{"byte_fallback":true,"vocab":{"<0xE2>":0,"<0x82>":1,"<0xAC>":2,"▁":3,"a":4,"▁a":5},"merges":["▁ a"]}}`), "a a  €")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := tokenizer.Parse(data)
		if err != nil {
			return
		}
		ids, starts := offsets(tok, tokenizer.Piece{Text: text, Trusted: true})
		if len(ids) != len(starts) || !slices.IsSorted(starts) {
			t.Errorf("%d ids at %v", len(ids), starts)
		}
		sameText(t, "streamed", streamed(tok, ids), tok.Decode(ids, false))
	})
}

// FuzzRoundTrip checks for every tokenizer that encoding and decoding returns the text, and
// that it gives no special token.
func FuzzRoundTrip(f *testing.F) {
	for _, text := range []string{"", "a <|im_end|> b <|end|>", "e\u0301\u0308 \u202e12 34", "\x00\xff\xed\xa0\x80", strings.Repeat("\u0301", 50), " 's 'LL \n\r\n  x", "\u212b\u1100\u1161\u11a8\u0344"} {
		f.Add(text)
	}
	shapes, err := tokenizer.Load(filepath.Join(golden.Root(), "vlm", "pretrained", "presets", "shapes", "tokenizer.json"))
	if err != nil {
		f.Fatal(err)
	}
	trips := []trip{{"shapes", shapes, shapes.LongestToken()}}
	for _, name := range golden.Members(f, filepath.Join("..", "models")) {
		if _, err := os.Stat(filepath.Join(golden.Model(f, name), "tokenizer.json")); err != nil {
			continue // a model with only a chat template
		}
		tok := load(f, name)
		trips = append(trips, trip{name, tok, tok.LongestToken()})
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, trip := range trips {
			want, ok := strings.ToValidUTF8(text, "\uFFFD"), true
			if trip.name == "Qwen3" {
				want, ok = composed(want)
			}
			if ok {
				trip.check(t, text, want)
			}
		}
	})
}

// trip is a tokenizer for round trips.
type trip struct {
	name    string
	tok     *tokenizer.Tokenizer
	longest int // bytes of the longest token
}

func (r trip) check(t *testing.T, text, want string) {
	tok := r.tok
	ids := plainIDs(tok, text)
	for _, id := range ids {
		if tok.IsSpecial(id) {
			t.Errorf("%s: %q became the control token %q", r.name, text, tok.Token(id))
		}
	}
	// SmolLM2's vocabulary lacks some bytes, such as control characters, which are dropped as
	// in Hugging Face's library.
	lacks := func(r rune) bool { return tok.Decode(plainIDs(tok, string(r)), false) != string(r) }
	if strings.ContainsFunc(want, lacks) {
		return
	}
	sameText(t, r.name+" decoded", tok.Decode(ids, false), want)
	if len(want) > r.longest*len(ids) {
		t.Errorf("%s: %d bytes in %d tokens of at most %d bytes", r.name, len(want), len(ids), r.longest)
	}
}

// composed returns a text in NFC. ok is false if the norm package has inserted a joiner into
// a run of more than 30 marks, which tokenizers do not.
func composed(text string) (nfc string, ok bool) {
	const joiner = "\u034f"
	nfc = norm.NFC.String(text)
	return nfc, strings.Count(nfc, joiner) == strings.Count(text, joiner)
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The photograph shows a small brown dog that runs over a green field, 3 children behind it. ", 1000)
	for _, name := range []string{smolLM2, "Qwen3"} {
		b.Run(name, func(b *testing.B) {
			tok := load(b, name)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				plainIDs(tok, text)
			}
		})
	}
}
