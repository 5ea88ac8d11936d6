package tokenizer

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// bpe merges the bytes, or the characters, of words into tokens.
type bpe struct {
	vocab        vocabulary
	characters   bool         // symbols are characters, and bytes of those that are no token
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

func newBPE(f modelFile, characters bool) (*bpe, error) {
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
	m := &bpe{vocab: f.Vocab, characters: characters, ignoreMerges: f.IgnoreMerges, unk: -1, fuseUnk: f.FuseUnk, cache: map[string]word{}}
	if f.UnkToken != nil {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return nil, &FormatError{fmt.Sprintf("unk_token %q is not in the vocabulary", *f.UnkToken)}
		}
		m.unk = id
	}
	for b := range m.bytes {
		switch {
		case !characters:
			m.bytes[b] = m.initialIDs(byte(b), f.ByteFallback)
		case f.ByteFallback:
			if id, ok := f.Vocab[byteToken(byte(b))]; ok {
				m.bytes[b] = []int32{id}
			}
		}
	}
	return m, m.setMerges(f.Merges)
}

// byteToken is the token of a byte of a character that is no token itself.
func byteToken(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// initialIDs returns the ids of a byte before merging.
func (m *bpe) initialIDs(b byte, fallback bool) []int32 {
	char := string(byteChar[b])
	if id, ok := m.vocab[char]; ok {
		return []int32{id}
	}
	var ids []int32
	for i := 0; fallback && i < len(char); i++ {
		if id, ok := m.vocab[byteToken(char[i])]; ok {
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
		whole := text
		if !m.characters {
			whole = toByteLevel(text)
		}
		if id, ok := m.vocab[whole]; ok {
			return word{[]int32{id}, []int32{0}}
		}
	}
	q := &queue{symbols: make([]symbol, 0, len(text))}
	if m.characters {
		m.characterSymbols(q, text)
	} else {
		m.byteSymbols(q, text)
	}
	for i := range q.symbols {
		q.offer(m, i)
	}
	for q.merge(m) {
	}
	return q.word()
}

// byteSymbols appends the initial symbols of a word's bytes.
func (m *bpe) byteSymbols(q *queue, text string) {
	for i := range len(text) {
		for _, id := range m.bytes[text[i]] {
			m.append(q, id, i)
		}
	}
}

// characterSymbols appends the initial symbols of a word's characters. A character that is no token
// becomes its bytes, or the unknown token if they are not all tokens.
func (m *bpe) characterSymbols(q *queue, text string) {
	for i := 0; i < len(text); {
		_, size := utf8.DecodeRuneInString(text[i:])
		char := text[i : i+size]
		if id, ok := m.vocab[char]; ok {
			m.append(q, id, i)
		} else if m.allBytes(char) {
			for k := range size {
				m.append(q, m.bytes[char[k]][0], i+k)
			}
		} else if m.unk >= 0 {
			m.append(q, m.unk, i)
		}
		i += size
	}
}

func (m *bpe) allBytes(char string) bool {
	for i := range len(char) {
		if len(m.bytes[char[i]]) == 0 {
			return false
		}
	}
	return true
}

// append appends a symbol to a word's. Neighbouring unknown symbols are one where the model says so.
func (m *bpe) append(q *queue, id int32, start int) {
	last := len(q.symbols) - 1
	if m.fuseUnk && id == m.unk && last >= 0 && q.symbols[last].id == m.unk {
		return
	}
	q.symbols = append(q.symbols, symbol{id: id, start: int32(start), prev: last, next: last + 2})
}
