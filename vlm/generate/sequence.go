package generate

import (
	"bytes"
	"slices"

	"patchwork/vlm/chat"
)

// sequence is tokens and where their pictures stand.
type sequence struct {
	ids      []int32
	images   []int    // the first token of each picture
	pictures [][]byte // pixels [S,S,C]
}

func newSequence(prompt chat.Tokens, pictures [][]byte) sequence {
	return sequence{prompt.IDs, prompt.Images, pictures}
}

// first is the beginning of the sequence, in storage of its own.
func (s sequence) first(n int) sequence {
	k := s.picturesBefore(n)
	return sequence{slices.Clone(s.ids[:n]), slices.Clone(s.images[:k]), slices.Clone(s.pictures[:k])}
}

// picturesBefore is how many pictures start before a token.
func (s sequence) picturesBefore(n int) int {
	k, _ := slices.BinarySearch(s.images, n)
	return k
}

// shared is how many tokens s begins with that other begins with too, seeing the
// same pictures in them.
func (s sequence) shared(other sequence) int {
	n := 0
	for n < min(len(s.ids), len(other.ids)) && s.ids[n] == other.ids[n] {
		n++
	}
	for i, at := range s.images {
		if at >= n {
			break
		}
		if i >= len(other.images) || other.images[i] != at || !bytes.Equal(s.pictures[i], other.pictures[i]) {
			return at
		}
	}
	if k := s.picturesBefore(n); k < other.picturesBefore(n) {
		return other.images[k]
	}
	return n
}
