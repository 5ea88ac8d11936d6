package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// file is tokenizer.json. Fields that encoding does not use are preserved unparsed.
type file struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         modelFile       `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type modelFile struct {
	Type                    string     `json:"type"`
	Dropout                 *float64   `json:"dropout"`
	UnkToken                *string    `json:"unk_token"`
	ContinuingSubwordPrefix *string    `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string    `json:"end_of_word_suffix"`
	FuseUnk                 bool       `json:"fuse_unk"`
	ByteFallback            bool       `json:"byte_fallback"`
	IgnoreMerges            bool       `json:"ignore_merges"`
	Vocab                   vocabulary `json:"vocab"`
	Merges                  []merge    `json:"merges"`
}

// vocabulary is written in the order of the ids, as in Hugging Face's files.
type vocabulary map[string]int32

func (v vocabulary) MarshalJSON() ([]byte, error) {
	tokens := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return cmp.Compare(v[a], v[b]) })
	out := []byte{'{'}
	for i, token := range tokens {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := encodeJSON(token)
		if err != nil {
			return nil, err
		}
		out = fmt.Appendf(append(out, key...), ":%d", v[token])
	}
	return append(out, '}'), nil
}

// merge is a pair of tokens to merge: ["a","b"], or "a b" in older files.
type merge [2]string

func (m *merge) UnmarshalJSON(data []byte) error {
	var old string
	if json.Unmarshal(data, &old) == nil {
		left, right, ok := strings.Cut(old, " ")
		if !ok {
			return &FormatError{fmt.Sprintf("merge %q is not a pair", old)}
		}
		*m = merge{left, right}
		return nil
	}
	var pair []string
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return &FormatError{fmt.Sprintf("merge %.80s is not a pair", data)}
	}
	*m = merge{pair[0], pair[1]}
	return nil
}

// Parse parses the contents of a tokenizer.json. The error is a *FormatError, an
// *UnsupportedError or one of encoding/json.
func Parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return build(f)
}

func build(f file) (*Tokenizer, error) {
	t := &Tokenizer{source: f}
	var err error
	if t.normalize, err = parseNormalizer(f.Normalizer, 0); err != nil {
		return nil, err
	}
	var byteLevel bool
	if t.split, byteLevel, err = parseStages(f.PreTokenizer, 0); err != nil {
		return nil, err
	}
	if t.decoder, err = parseDecoder(f.Decoder); err != nil {
		return nil, err
	}
	if byteLevel != t.decoder.byteLevel {
		return nil, &UnsupportedError{"a pre-tokenizer with ByteLevel and a decoder without, or the reverse,"}
	}
	if t.model, err = newBPE(f.Model, !byteLevel); err != nil {
		return nil, err
	}
	if space := t.decoder.old; space != "" {
		t.split = append(t.split, splitBefore(space, joined(f.Model.Merges, space)))
	}
	if t.before, t.after, err = parsePostProcessor(f.PostProcessor, 0); err != nil {
		return nil, err
	}
	if err := t.add(); err != nil {
		return nil, err
	}
	for _, id := range slices.Concat(t.before, t.after) {
		if !t.known(id) {
			return nil, &FormatError{fmt.Sprintf("post_processor: no token has id %d", id)}
		}
	}
	return t, nil
}

// add builds the tables of tokens from the model's vocabulary and the added tokens.
func (t *Tokenizer) add() error {
	ids := make(map[string]int32, len(t.source.Model.Vocab)+len(t.source.AddedTokens))
	maps.Copy(ids, t.source.Model.Vocab)
	for _, a := range t.source.AddedTokens {
		switch id, ok := ids[a.Content]; {
		case a.Content == "":
			return &FormatError{"an added token is empty"}
		case ok && id != a.ID:
			return &FormatError{fmt.Sprintf("token %q has ids %d and %d", a.Content, id, a.ID)}
		}
		ids[a.Content] = a.ID
	}
	tokens, err := byID(ids)
	if err != nil {
		return err
	}
	t.ids, t.tokens, t.special = ids, tokens, make([]bool, len(tokens))
	t.exact, t.normalized = newMatcher(), newMatcher()
	for _, a := range t.source.AddedTokens {
		t.special[a.ID] = a.Special
		if a.Normalized {
			a.Content = normalizeAll(t.normalize, a.Content).text // it is matched in normalized text
			t.normalized.add(a)
		} else {
			t.exact.add(a)
		}
	}
	return nil
}

// byID returns the tokens by id. Ids must be 0 to len(ids)-1, each once.
func byID(ids map[string]int32) ([]string, error) {
	tokens, taken := make([]string, len(ids)), make([]bool, len(ids))
	for token, id := range ids {
		if id < 0 || int(id) >= len(ids) {
			return nil, &FormatError{fmt.Sprintf("token %q has id %d, but there are %d tokens", token, id, len(ids))}
		}
		if taken[id] {
			return nil, &FormatError{fmt.Sprintf("two tokens have the id %d", id)}
		}
		tokens[id], taken[id] = token, true
	}
	return tokens, nil
}

// MarshalJSON returns the tokenizer as a tokenizer.json for Hugging Face's tokenizers.
func (t *Tokenizer) MarshalJSON() ([]byte, error) { return encodeJSON(t.source) }

// Save writes the tokenizer as a tokenizer.json.
func (t *Tokenizer) Save(path string) error {
	data, err := t.MarshalJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// encodeJSON is json.Marshal without escaping <, > and &.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
