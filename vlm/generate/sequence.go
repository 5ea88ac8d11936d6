package generate

import (
	"bytes"
	"cmp"
	"slices"

	"patchwork/vlm/chat"
)

// sequence is tokens with the positions and contents of their images and clips.
type sequence struct {
	ids    []int32
	images []int       // the first token of each image
	grids  []chat.Grid // of each image
	pixels [][]byte    // pixels [S,S,C], or [patches,P,P,C]
	clips  []chat.Clip
	frames [][]float32 // of each clip
}

func newSequence(prompt chat.Tokens, images [][]byte, frames [][]float32) sequence {
	return sequence{prompt.IDs, prompt.Images, prompt.Grids, images, prompt.Clips, frames}
}

// prefix returns a copy of the first n tokens.
func (s sequence) prefix(n int) sequence {
	k, c := s.imagesBefore(n), s.clipsBefore(n)
	return sequence{slices.Clone(s.ids[:n]), slices.Clone(s.images[:k]), slices.Clone(s.grids[:k]), slices.Clone(s.pixels[:k]), slices.Clone(s.clips[:c]), slices.Clone(s.frames[:c])}
}

// imagesBefore returns the number of images that start before a token.
func (s sequence) imagesBefore(n int) int {
	k, _ := slices.BinarySearch(s.images, n)
	return k
}

// imageEnd returns the token after those of an image.
func (s sequence) imageEnd(image int) int { return s.images[image] + s.grids[image].Tokens() }

// clipsBefore returns the number of clips that start before a token.
func (s sequence) clipsBefore(n int) int {
	k, _ := slices.BinarySearchFunc(s.clips, n, func(c chat.Clip, n int) int { return cmp.Compare(c.Start, n) })
	return k
}

// commonPrefix returns the length of the common prefix with another sequence, in which images and
// clips are equal too.
func (s sequence) commonPrefix(other sequence) int {
	n := 0
	for n < min(len(s.ids), len(other.ids)) && s.ids[n] == other.ids[n] {
		n++
	}
	for i, at := range s.images {
		if at >= n {
			break
		}
		if i >= len(other.images) || other.images[i] != at || other.grids[i] != s.grids[i] || !bytes.Equal(s.pixels[i], other.pixels[i]) {
			n = at
			break
		}
	}
	if k := s.imagesBefore(n); k < other.imagesBefore(n) {
		n = other.images[k]
	}
	for i, clip := range s.clips[:s.clipsBefore(n)] {
		if i >= len(other.clips) || other.clips[i] != clip || !slices.Equal(s.frames[i], other.frames[i]) {
			return clip.Start
		}
	}
	if k := s.clipsBefore(n); k < other.clipsBefore(n) {
		return other.clips[k].Start
	}
	return n
}
