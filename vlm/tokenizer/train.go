package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Train trains a byte-level BPE of vocabSize tokens: the special tokens, the 256 bytes, then
// the merges. Words are split by GPT-2's pattern. Each step merges the most frequent pair, or
// among equals the one with the lowest ids, so that the order of the texts does not matter.
// It stops early if no pair is left.
func Train(texts iter.Seq[string], vocabSize int, specials []string) (*Tokenizer, error) {
	tr := newTrainer(texts, specials)
	if vocabSize < len(tr.tokens) {
		return nil, &FormatError{fmt.Sprintf("a vocabulary of %d tokens is too small for %d bytes and special tokens", vocabSize, len(tr.tokens))}
	}
	for len(tr.tokens) < vocabSize && tr.merge() {
	}
	f := trainedFile(specials)
	f.Model.Merges, f.Model.Vocab = tr.merges, tr.ids
	return build(f)
}

type trainer struct {
	tokens []string
	ids    map[string]int32
	merges []merge
	words  []countedWord
}

type countedWord struct {
	ids   []int32
	count int
}

func newTrainer(texts iter.Seq[string], specials []string) *trainer {
	tr := &trainer{ids: map[string]int32{}, merges: []merge{}}
	for _, token := range specials {
		tr.id(token)
	}
	for _, c := range byteChar {
		tr.id(string(c))
	}
	counts := map[string]int{}
	for text := range texts {
		for len(text) > 0 {
			n := gpt2Next(text)
			counts[text[:n]]++
			text = text[n:]
		}
	}
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		w := countedWord{count: counts[text]}
		for i := range len(text) {
			w.ids = append(w.ids, tr.ids[string(byteChar[text[i]])])
		}
		tr.words = append(tr.words, w)
	}
	return tr
}

// id returns the token's id, adding it if it is new: two merges may give the same token.
func (tr *trainer) id(token string) int32 {
	id, ok := tr.ids[token]
	if !ok {
		id = int32(len(tr.tokens))
		tr.tokens, tr.ids[token] = append(tr.tokens, token), id
	}
	return id
}

// merge merges the best pair and returns false if there is none.
func (tr *trainer) merge() bool {
	counts := map[[2]int32]int{}
	for _, w := range tr.words {
		for i := 1; i < len(w.ids); i++ {
			counts[[2]int32{w.ids[i-1], w.ids[i]}] += w.count
		}
	}
	if len(counts) == 0 {
		return false
	}
	best := slices.MinFunc(slices.Collect(maps.Keys(counts)), func(a, b [2]int32) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), slices.Compare(a[:], b[:]))
	})
	left, right := tr.tokens[best[0]], tr.tokens[best[1]]
	tr.merges = append(tr.merges, merge{left, right})
	id := tr.id(left + right)
	for i := range tr.words {
		tr.words[i].replace(best, id)
	}
	return true
}

func (w *countedWord) replace(pair [2]int32, id int32) {
	out := w.ids[:0]
	for i := 0; i < len(w.ids); i++ {
		if i+1 < len(w.ids) && w.ids[i] == pair[0] && w.ids[i+1] == pair[1] {
			out = append(out, id)
			i++
			continue
		}
		out = append(out, w.ids[i])
	}
	w.ids = out
}

func trainedFile(specials []string) file {
	byteLevel := json.RawMessage(`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`)
	f := file{
		Version: "1.0", AddedTokens: []addedToken{}, PreTokenizer: byteLevel, Decoder: byteLevel,
		Model: modelFile{Type: "BPE"},
	}
	for id, token := range specials {
		f.AddedTokens = append(f.AddedTokens, addedToken{ID: int32(id), Content: token, Special: true})
	}
	return f
}
