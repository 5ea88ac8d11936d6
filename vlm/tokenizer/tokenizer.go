// Package tokenizer is Hugging Face's byte-level BPE: it reads and writes
// tokenizer.json and gives the same ids as the `tokenizers` library for the
// pipelines of SmolLM2 (individual digits, then GPT-2's pattern) and Qwen3
// (NFC, then its own pattern).
//
// Text is encoded in pieces, trusted or not. A token marked special, such as
// the end of a turn, is recognised in trusted pieces only, so that nobody can
// smuggle one in by writing its name.
package tokenizer

import (
	"fmt"
	"slices"

	"patchwork/internal/smallfile"
)

// Tokenizer turns text into ids and back. It is safe for concurrent use, except
// for AddSpecial.
type Tokenizer struct {
	source     file // what Save writes again
	tokens     []string
	ids        map[string]int32
	special    []bool
	exact      matcher // added tokens looked for in the text as it is
	normalized matcher // added tokens looked for after normalization
	nfc        bool
	split      []stage
	model      *bpe

	before, after []int32 // what the post-processor puts around a text
}

// FormatError says why a tokenizer.json makes no sense.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "tokenizer.json: " + e.Reason }

// UnsupportedError names a feature of tokenizer.json that this package lacks.
type UnsupportedError struct{ Feature string }

func (e *UnsupportedError) Error() string {
	return "tokenizer.json: " + e.Feature + " is not supported; only byte-level BPE tokenizers are"
}

// MaxFile bounds tokenizer.json: the largest published ones, with 262,144 tokens, have some
// 35 MB.
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

// Len returns the number of tokens, added ones included. Ids are 0 to Len()-1.
func (t *Tokenizer) Len() int { return len(t.tokens) }

// LongestToken is the largest number of bytes that one token stands for.
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

// Token returns a token as tokenizer.json writes it, or "" where id is none.
func (t *Tokenizer) Token(id int32) string {
	if !t.known(id) {
		return ""
	}
	return t.tokens[id]
}

// IsSpecial reports whether id is a token marked special.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.known(id) && t.special[id] }

// Specials returns the tokens marked special, by id.
func (t *Tokenizer) Specials() []string {
	var out []string
	for id, special := range t.special {
		if special {
			out = append(out, t.tokens[id])
		}
	}
	return out
}

// Added returns the tokens that are looked for in a text as they are, by id: the special
// ones and those that users' text may hold.
func (t *Tokenizer) Added() []string {
	var out []string
	for _, a := range t.source.AddedTokens {
		out = append(out, a.Content)
	}
	return out
}

func (t *Tokenizer) known(id int32) bool { return id >= 0 && int(id) < len(t.tokens) }

// AddSpecial makes token a special one and returns its id, which is Len() before
// the call where the vocabulary did not have it. The empty token is refused.
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
