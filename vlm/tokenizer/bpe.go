package tokenizer

import (
	"fmt"
	"strings"
	"sync"
)

// bpe merges the bytes of words into tokens.
type bpe struct {
	vocab        vocabulary
	bytes        [256][]int32 // initial ids of each byte; empty: the byte is dropped
	merges       map[uint64]mergeRule
	ignoreMerges bool
	unk          int32 // -1: none
	fuseUnk      bool

	mu    sync.RWMutex
	cache map[string]word
}

// mergeRule is the merge of a pair to id. The lowest rank is merged first.
type mergeRule struct{ rank, id int32 }

// word is the ids of a word and the byte offset of each.
type word struct{ ids, starts []int32 }

const (
	cacheWords    = 1 << 16
	cacheWordSize = 64 // bytes
)

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func newBPE(f modelFile) (*bpe, error) {
	switch {
	case f.Type != "BPE" && f.Type != "":
		return nil, &UnsupportedError{"model " + f.Type}
	case f.Dropout != nil && *f.Dropout != 0:
		return nil, &UnsupportedError{"BPE dropout"}
	case f.ContinuingSubwordPrefix != nil && *f.ContinuingSubwordPrefix != "":
		return nil, &UnsupportedError{"continuing_subword_prefix"}
	case f.EndOfWordSuffix != nil && *f.EndOfWordSuffix != "":
		return nil, &UnsupportedError{"end_of_word_suffix"}
	}
	m := &bpe{vocab: f.Vocab, ignoreMerges: f.IgnoreMerges, unk: -1, fuseUnk: f.FuseUnk, cache: map[string]word{}}
	if f.UnkToken != nil {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return nil, &FormatError{fmt.Sprintf("unk_token %q is not in the vocabulary", *f.UnkToken)}
		}
		m.unk = id
	}
	for b := range m.bytes {
		m.bytes[b] = m.initialIDs(byte(b), f.ByteFallback)
	}
	return m, m.setMerges(f.Merges)
}

// initialIDs returns the ids of a byte before merging.
func (m *bpe) initialIDs(b byte, fallback bool) []int32 {
	char := string(byteChar[b])
	if id, ok := m.vocab[char]; ok {
		return []int32{id}
	}
	var ids []int32
	for i := 0; fallback && i < len(char); i++ {
		if id, ok := m.vocab[fmt.Sprintf("<0x%02X>", char[i])]; ok {
			ids = append(ids, id)
		}
	}
	if len(ids) == len(char) {
		return ids
	}
	if m.unk >= 0 {
		return []int32{m.unk}
	}
	return nil
}

func (m *bpe) setMerges(merges []merge) error {
	m.merges = make(map[uint64]mergeRule, len(merges))
	for rank, pair := range merges {
		a, okA := m.vocab[pair[0]]
		b, okB := m.vocab[pair[1]]
		id, ok := m.vocab[pair[0]+pair[1]]
		if !okA || !okB || !ok {
			return &FormatError{fmt.Sprintf("merge %q %q is not in the vocabulary", pair[0], pair[1])}
		}
		m.merges[pairKey(a, b)] = mergeRule{int32(rank), id}
	}
	return nil
}

// word encodes one word. The result is cached and must not be modified.
func (m *bpe) word(text string) word {
	if len(text) > cacheWordSize {
		return m.encode(text)
	}
	m.mu.RLock()
	w, ok := m.cache[text]
	m.mu.RUnlock()
	if ok {
		return w
	}
	w = m.encode(text)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.cache) < cacheWords {
		m.cache[strings.Clone(text)] = w
	}
	return w
}

func (m *bpe) encode(text string) word {
	if m.ignoreMerges {
		if id, ok := m.vocab[toByteLevel(text)]; ok {
			return word{[]int32{id}, []int32{0}}
		}
	}
	q := m.symbols(text)
	for i := range q.symbols {
		q.offer(m, i)
	}
	for q.merge(m) {
	}
	return q.word()
}

// symbols returns the queue of the word's initial symbols.
func (m *bpe) symbols(text string) *queue {
	q := &queue{symbols: make([]symbol, 0, len(text))}
	for i := range len(text) {
		for _, id := range m.bytes[text[i]] {
			last := len(q.symbols) - 1
			if m.fuseUnk && id == m.unk && last >= 0 && q.symbols[last].id == m.unk {
				continue
			}
			q.symbols = append(q.symbols, symbol{id: id, start: int32(i), prev: last, next: last + 2})
		}
	}
	return q
}
