package data

import (
	"iter"
	"math/bits"
)

// RowSet is a bit set of row numbers: data sets have millions of rows.
type RowSet struct {
	words []uint64
	n     int
}

// Add adds a row and reports whether it is new.
func (s *RowSet) Add(i int) bool {
	word, bit := i/64, uint64(1)<<(i%64)
	if word >= len(s.words) {
		s.words = append(s.words, make([]uint64, word+1-len(s.words))...)
	}
	if s.words[word]&bit != 0 {
		return false
	}
	s.words[word] |= bit
	s.n++
	return true
}

// Has reports whether a row is in the set.
func (s *RowSet) Has(i int) bool {
	return i/64 < len(s.words) && s.words[i/64]&(1<<(i%64)) != 0
}

// Len returns the number of rows.
func (s *RowSet) Len() int { return s.n }

// All yields the rows in ascending order.
func (s *RowSet) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for k, word := range s.words {
			for ; word != 0; word &= word - 1 {
				if !yield(64*k + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

func (s *RowSet) remove(i int) {
	if s.Has(i) {
		s.words[i/64] &^= 1 << (i % 64)
		s.n--
	}
}
