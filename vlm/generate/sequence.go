package generate

import (
	"bytes"
	"slices"

	"patchwork/vlm/chat"
)

// sequence is tokens with the positions and pixels of their images.
type sequence struct {
	ids    []int32
	images []int    // the first token of each image
	pixels [][]byte // pixels [S,S,C]
}

func newSequence(prompt chat.Tokens, images [][]byte) sequence {
	return sequence{prompt.IDs, prompt.Images, images}
}

// prefix returns a copy of the first n tokens.
func (s sequence) prefix(n int) sequence {
	k := s.imagesBefore(n)
	return sequence{slices.Clone(s.ids[:n]), slices.Clone(s.images[:k]), slices.Clone(s.pixels[:k])}
}

// imagesBefore returns the number of images that start before a token.
func (s sequence) imagesBefore(n int) int {
	k, _ := slices.BinarySearch(s.images, n)
	return k
}

// commonPrefix returns the length of the common prefix with another sequence, in which images are
// equal too.
func (s sequence) commonPrefix(other sequence) int {
	n := 0
	for n < min(len(s.ids), len(other.ids)) && s.ids[n] == other.ids[n] {
		n++
	}
	for i, at := range s.images {
		if at >= n {
			break
		}
		if i >= len(other.images) || other.images[i] != at || !bytes.Equal(s.pixels[i], other.pixels[i]) {
			return at
		}
	}
	if k := s.imagesBefore(n); k < other.imagesBefore(n) {
		return other.images[k]
	}
	return n
}
