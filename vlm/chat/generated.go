package chat

import (
	"sort"
	"unicode/utf8"
)

// unmarked moves spans of a rendered text to where they are once the marks are taken
// out of it, which is the joined text of split's pieces.
func (m marks) unmarked(rendered string, spans []span) []span {
	var at, removed []int // where marks stand, and the bytes of those up to each
	size := 0
	for i, r := range rendered {
		if m.is(r) {
			size += utf8.RuneLen(r)
			at, removed = append(at, i), append(removed, size)
		}
	}
	place := func(i int) int {
		if before := sort.SearchInts(at, i); before > 0 {
			return i - removed[before-1]
		}
		return i
	}
	out := make([]span, len(spans))
	for i, s := range spans {
		out[i] = span{place(s.lo), place(s.hi)}
	}
	return out
}
