package grammar

import (
	"bytes"
	"math"
	"slices"
)

// Vocabulary is the tokens of a model, ordered so that those with a common prefix follow each other. It
// is safe for concurrent use.
type Vocabulary struct {
	tokens [][]byte // by id
	ends   []int32
	ids    []int32
	bytes  [][]byte // of ids, ascending
	common []int    // length of the prefix that is common with the token before
}

// NewVocabulary returns a vocabulary of tokens by their ids; those without bytes are never chosen. ends
// are the tokens that end an answer.
func NewVocabulary(tokens [][]byte, ends []int32) *Vocabulary {
	v := &Vocabulary{tokens: tokens, ends: slices.Clone(ends)}
	for id, text := range tokens {
		if len(text) > 0 && !slices.Contains(ends, int32(id)) {
			v.ids = append(v.ids, int32(id))
		}
	}
	slices.SortStableFunc(v.ids, func(a, b int32) int { return bytes.Compare(tokens[a], tokens[b]) })
	var before []byte
	for _, id := range v.ids {
		text, n := tokens[id], 0
		for n < min(len(text), len(before)) && text[n] == before[n] {
			n++
		}
		v.bytes, v.common, before = append(v.bytes, text), append(v.common, n), text
	}
	return v
}

// text returns the bytes of a token; nil if it is not in the vocabulary.
func (v *Vocabulary) text(id int32) []byte {
	if id < 0 || int(id) >= len(v.tokens) || len(v.tokens[id]) == 0 {
		return nil
	}
	return v.tokens[id]
}

// mask is a set of tokens.
type mask []uint64

func (m mask) add(id int32)      { m[id/64] |= 1 << (id % 64) }
func (m mask) has(id int32) bool { return int(id/64) < len(m) && m[id/64]&(1<<(id%64)) != 0 }

// apply sets the logits of other tokens to -Inf.
func (m mask) apply(logits []float32) {
	for id := range logits {
		if !m.has(int32(id)) {
			logits[id] = float32(math.Inf(-1))
		}
	}
}
