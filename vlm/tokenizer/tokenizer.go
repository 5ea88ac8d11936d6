// Package tokenizer implements Hugging Face's BPE, over bytes or over characters. It reads and
// writes tokenizer.json, and gives the same ids as the tokenizers library, for example for SmolLM2
// (individual digits, then GPT-2's pattern), Qwen3 (NFC, then its own pattern) and Gemma
// (SentencePiece's BPE: characters, spaces as U+2581, bytes of what is no token).
//
// Text is encoded in trusted and untrusted pieces. Special tokens, such as the end of a
// turn, are recognised only in trusted pieces, so that users cannot inject them by name.
package tokenizer

import (
	"fmt"
	"slices"

	"patchwork/internal/smallfile"
)

// Tokenizer converts text to ids and back. It is safe for concurrent use, except for
// AddSpecial.
type Tokenizer struct {
	source     file // as written by Save
	tokens     []string
	ids        map[string]int32
	special    []bool
	exact      matcher // added tokens matched before normalization
	normalized matcher // added tokens matched after normalization
	normalize  []normalizer
	split      []stage
	model      *bpe
	decoder    decoder

	before, after []int32 // added by the post-processor around a text
}

// FormatError reports an invalid tokenizer.json.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "tokenizer.json: " + e.Reason }

// UnsupportedError reports an unsupported feature of a tokenizer.json.
type UnsupportedError struct{ Feature string }

func (e *UnsupportedError) Error() string {
	return "tokenizer.json: " + e.Feature + " is not supported; byte-level BPE and SentencePiece's BPE are"
}

// MaxFile is the largest tokenizer.json that is read. The largest published ones, with
// 262,144 tokens, have some 35 MB.
const MaxFile = 128 << 20

// Load reads a tokenizer.json file.
func Load(path string) (*Tokenizer, error) {
	data, err := smallfile.Read(path, MaxFile)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Len returns the number of tokens, including added ones. Ids are 0 to Len()-1.
func (t *Tokenizer) Len() int { return len(t.tokens) }

// LongestToken returns the number of bytes of the longest token.
func (t *Tokenizer) LongestToken() int {
	longest := 0
	for _, token := range t.tokens {
		longest = max(longest, len(t.appendBytes(nil, t.ids[token], false)))
	}
	return longest
}

// ID returns the id of a token, written as in tokenizer.json ("Ġthe", "<|im_end|>").
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token returns a token as written in tokenizer.json, or "" if there is no such id.
func (t *Tokenizer) Token(id int32) string {
	if !t.known(id) {
		return ""
	}
	return t.tokens[id]
}

// IsSpecial reports whether id is a special token.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.known(id) && t.special[id] }

// Specials returns the special tokens, in the order of their ids.
func (t *Tokenizer) Specials() []string {
	var out []string
	for id, special := range t.special {
		if special {
			out = append(out, t.tokens[id])
		}
	}
	return out
}

// Added returns the added tokens, special or not, in the order of tokenizer.json.
func (t *Tokenizer) Added() []string {
	var out []string
	for _, a := range t.source.AddedTokens {
		out = append(out, a.Content)
	}
	return out
}

func (t *Tokenizer) known(id int32) bool { return id >= 0 && int(id) < len(t.tokens) }

// AddSpecial makes token a special token and returns its id. A new token gets the next id,
// Len() before the call. The empty token is an error.
func (t *Tokenizer) AddSpecial(token string) (int32, error) {
	if token == "" {
		return 0, &FormatError{"an added token is empty"}
	}
	id, ok := t.ids[token]
	if ok && t.special[id] {
		return id, nil
	}
	added := slices.Clone(t.source.AddedTokens)
	added = slices.DeleteFunc(added, func(a addedToken) bool { return a.Content == token })
	if !ok {
		id = int32(t.Len())
	}
	t.source.AddedTokens = append(added, addedToken{ID: id, Content: token, Special: true})
	return id, t.add()
}
