package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Kind is the type of a token in a GGUF vocabulary, with that format's numbers (llama.cpp,
// enum llama_token_type).
type Kind int32

// Kinds of tokens.
const (
	KindNormal      Kind = 1
	KindUnknown     Kind = 2
	KindControl     Kind = 3 // special: never recognised in users' text
	KindUserDefined Kind = 4 // added, recognised everywhere
	KindUnused      Kind = 5
	KindByte        Kind = 6
)

// Vocabulary is a BPE vocabulary in the form of GGUF files.
type Vocabulary struct {
	Tokens []string // by id, in the byte-level alphabet, or with U+2581 for spaces
	Kinds  []Kind   // by id; nil: all normal
	Merges []string // "left right", in the order of their ranks
	// Scores, by id, take the place of Merges with SentencePiece: neighbours merge to the token of
	// the highest score.
	Scores []float32
	Pre    string // name of the pre-tokenizer, or SentencePiece or Gemma4
	// Before and After are the tokens to add around a text, such as BOS and EOS.
	Before, After []string
}

// pipeline is the part of tokenizer.json that a pre-tokenizer's name implies.
type pipeline struct {
	normalizer, preTokenizer string
	ignoreMerges             bool // use a word that is a token without merging
	characters               bool // BPE of characters, not of bytes
}

func (p pipeline) decoder() string {
	if p.characters {
		return spacesDecoder
	}
	return fmt.Sprintf(byteLevel, true)
}

// Names of pre-tokenizers of BPE of characters: those of GGUF's tokenizer.ggml.model "llama", whose
// tokens have scores, and "gemma4", whose have merges.
const (
	SentencePiece = "sentencepiece"
	Gemma4        = "gemma4"
)

// Stages of SentencePiece's BPE as Hugging Face writes them for Gemma. No space is left for Split,
// so the text between added tokens is one word.
const (
	spacesNormalizer = `{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}`
	spacesSplit      = `{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}`
	linesSplit       = `{"type":"Split","pattern":{"Regex":"[^\\n]+|[\\n]+"},"behavior":"Isolated","invert":false}`
	spacesDecoder    = `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]}`
)

const byteLevel = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":%v}`

// pipelines are the pre-tokenizers of llama.cpp that equal Hugging Face's, by llama.cpp's
// names (llama-vocab.cpp, tokenizer_pre).
var pipelines = map[string]pipeline{
	"gpt-2":  {normalizer: "null", preTokenizer: fmt.Sprintf(byteLevel, true)},
	"smollm": {normalizer: "null", preTokenizer: `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},` + fmt.Sprintf(byteLevel, true) + `]}`},
	"qwen2":  {normalizer: `{"type":"NFC"}`, preTokenizer: splitBy(qwenPattern)},

	"llama-bpe": {normalizer: "null", preTokenizer: splitBy(llamaPattern), ignoreMerges: true},

	SentencePiece: {normalizer: spacesNormalizer, preTokenizer: spacesSplit, characters: true},
	Gemma4:        {normalizer: spacesNormalizer, preTokenizer: linesSplit, characters: true},
}

// preTokenizerAliases are further names of them in llama.cpp.
var preTokenizerAliases = map[string]string{"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2", "phi-2": "gpt-2"}

// splitBy returns a pre-tokenizer that splits by a pattern.
func splitBy(pattern string) string {
	return `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":` + quoted(pattern) + `},"behavior":"Isolated","invert":false},` + fmt.Sprintf(byteLevel, false) + `]}`
}

func quoted(s string) string {
	text, _ := encodeJSON(s) // cannot fail for a string
	return string(text)
}

// FromVocabulary returns the same tokenizer as Hugging Face's files of the model. Unused
// tokens at the end, which only pad the embedding, are dropped. The error is a *FormatError
// or an *UnsupportedError.
func FromVocabulary(v Vocabulary) (*Tokenizer, error) {
	pipe, ok := pipelines[cmp.Or(preTokenizerAliases[v.Pre], v.Pre)]
	if !ok {
		return nil, &UnsupportedError{fmt.Sprintf("the pre-tokenizer %q (want one of %s)", v.Pre, strings.Join(slices.Sorted(maps.Keys(pipelines)), ", "))}
	}
	if v.Kinds != nil && len(v.Kinds) != len(v.Tokens) {
		return nil, &FormatError{fmt.Sprintf("%d tokens with %d types", len(v.Tokens), len(v.Kinds))}
	}
	if v.Scores != nil && len(v.Scores) != len(v.Tokens) {
		return nil, &FormatError{fmt.Sprintf("%d tokens with %d scores", len(v.Tokens), len(v.Scores))}
	}
	f := file{
		Version: "1.0", Normalizer: json.RawMessage(pipe.normalizer), PreTokenizer: json.RawMessage(pipe.preTokenizer),
		Truncation: json.RawMessage("null"), Padding: json.RawMessage("null"), PostProcessor: json.RawMessage("null"),
		Decoder: json.RawMessage(pipe.decoder()), Model: modelFile{Type: "BPE", Vocab: vocabulary{}, IgnoreMerges: pipe.ignoreMerges},
	}
	if pipe.characters {
		f.Model.ByteFallback, f.Model.FuseUnk, f.Model.UnkToken = true, true, v.unknown()
	}
	tokens := v.Tokens
	for v.Kinds != nil && len(tokens) > 0 && v.Kinds[len(tokens)-1] == KindUnused {
		tokens = tokens[:len(tokens)-1]
	}
	for id, token := range tokens {
		first, repeated := f.Model.Vocab[token]
		switch {
		case repeated && pipe.characters && v.kind(id) == KindNormal && v.kind(int(first)) == KindNormal:
			// Files of Gemma 4 have a few. The later id counts, as in llama.cpp.
			f.Model.Vocab[fmt.Sprintf("<repeated %d %s>", first, token)] = first
		case repeated:
			return nil, &FormatError{fmt.Sprintf("token %q has the ids %d and %d", token, first, id)}
		}
		f.Model.Vocab[token] = int32(id)
		if kind := v.kind(id); kind == KindControl || kind == KindUserDefined {
			// SentencePiece finds user-defined tokens, such as runs of spaces, in normalized text.
			f.AddedTokens = append(f.AddedTokens, addedToken{ID: int32(id), Content: token, Special: kind == KindControl, Normalized: pipe.characters && kind == KindUserDefined})
		}
	}
	if v.Scores != nil {
		f.Model.Merges = v.scoredMerges(f.Model.Vocab)
	}
	for _, m := range v.Merges {
		left, right, ok := parseMerge(m)
		if !ok {
			return nil, &FormatError{fmt.Sprintf("merge %.80q is not a pair", m)}
		}
		f.Model.Merges = append(f.Model.Merges, merge{left, right})
	}
	if len(v.Before)+len(v.After) > 0 {
		var err error
		if f.PostProcessor, err = aroundTemplate(v.Before, v.After, f.Model.Vocab); err != nil {
			return nil, err
		}
	}
	return build(f)
}

func (v *Vocabulary) kind(id int) Kind {
	if v.Kinds == nil {
		return KindNormal
	}
	return v.Kinds[id]
}

// unknown returns the token of text that cannot be encoded; nil: there is none.
func (v *Vocabulary) unknown() *string {
	for id, token := range v.Tokens {
		if v.kind(id) == KindUnknown || token == "<unk>" {
			return &token
		}
	}
	return nil
}

// scoredMerges returns the merges that SentencePiece's scores imply, best first: every pair of tokens
// whose union is a token. Their order is that of transformers (convert_slow_tokenizer.py,
// generate_merges).
func (v *Vocabulary) scoredMerges(ids vocabulary) []merge {
	type scored struct {
		merge
		score float32
	}
	mergeable := func(id int) bool { return v.kind(id) == KindNormal } // others are cut out before, or are bytes
	var all []scored
	for id, token := range v.Tokens {
		if !mergeable(id) {
			continue
		}
		for at := range token {
			left, okLeft := ids[token[:at]]
			right, okRight := ids[token[at:]]
			if okLeft && okRight && mergeable(int(left)) && mergeable(int(right)) {
				all = append(all, scored{merge{token[:at], token[at:]}, v.Scores[id]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(b.merge[0]), len(a.merge[0])))
	})
	out := make([]merge, len(all))
	for i := range all {
		out[i] = all[i].merge
	}
	return out
}

// Vocabulary returns the tokenizer in the form of GGUF files: the inverse of FromVocabulary. The
// error is an *UnsupportedError where llama.cpp has no name for the pre-tokenizer.
func (t *Tokenizer) Vocabulary() (Vocabulary, error) {
	pre, ok := pipelineName(t.source)
	if !ok {
		return Vocabulary{}, &UnsupportedError{"the pre-tokenizer in a GGUF file: llama.cpp has no name for it that is known here"}
	}
	if pipelines[pre].characters {
		pre = Gemma4 // which has merges; its split at newlines changes nothing, since no token has both
	}
	v := Vocabulary{Tokens: slices.Clone(t.tokens), Pre: pre, Kinds: slices.Repeat([]Kind{KindNormal}, len(t.tokens))}
	for b := range 256 {
		if id, ok := t.ids[byteToken(byte(b))]; ok && t.model.characters {
			v.Kinds[id] = KindByte
		}
	}
	for _, a := range t.source.AddedTokens {
		v.Kinds[a.ID] = KindUserDefined
		if a.Special {
			v.Kinds[a.ID] = KindControl
		}
	}
	for _, m := range t.source.Model.Merges {
		v.Merges = append(v.Merges, m[0]+" "+m[1])
	}
	for _, id := range t.before {
		v.Before = append(v.Before, t.tokens[id])
	}
	for _, id := range t.after {
		v.After = append(v.After, t.tokens[id])
	}
	return v, nil
}

// pipelineName is llama.cpp's name of a tokenizer's normalizer and pre-tokenizer.
func pipelineName(f file) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		p := pipelines[name]
		if p.ignoreMerges == f.Model.IgnoreMerges && (!p.characters || sameStage(f.Decoder, spacesDecoder)) && sameStage(f.Normalizer, p.normalizer) && sameStage(f.PreTokenizer, p.preTokenizer) {
			return name, true
		}
	}
	return "", false
}

// sameStage compares two stages of tokenizer.json but for trim_offsets, which does not change the
// tokens.
func sameStage(a json.RawMessage, b string) bool {
	var x, y any
	if isNull(a) {
		a = json.RawMessage("null")
	}
	if json.Unmarshal(a, &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(withoutTrim(x), withoutTrim(y))
}

func withoutTrim(stage any) any {
	switch s := stage.(type) {
	case map[string]any:
		delete(s, "trim_offsets")
		for _, value := range s {
			withoutTrim(value)
		}
	case []any:
		for _, value := range s {
			withoutTrim(value)
		}
	}
	return stage
}

// parseMerge splits a merge at the first space that is not its first character.
func parseMerge(m string) (left, right string, ok bool) {
	if m == "" {
		return "", "", false
	}
	at := strings.IndexByte(m[1:], ' ') + 1
	if at == 0 || at == len(m)-1 {
		return "", "", false
	}
	return m[:at], m[at+1:], true
}
