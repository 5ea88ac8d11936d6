package data

// rowSet is a bit set of row numbers: data sets have millions of rows.
type rowSet struct {
	words []uint64
	n     int
}

// add adds a row and reports whether it is new.
func (s *rowSet) add(i int) bool {
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

func (s *rowSet) has(i int) bool {
	return i/64 < len(s.words) && s.words[i/64]&(1<<(i%64)) != 0
}

func (s *rowSet) remove(i int) {
	if s.has(i) {
		s.words[i/64] &^= 1 << (i % 64)
		s.n--
	}
}
