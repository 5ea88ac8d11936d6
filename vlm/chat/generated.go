package chat

import (
	"slices"
	"unicode/utf8"
)

// unmarked moves spans of a rendered text to where they are once the marks are taken
// out of it, which is the joined text of split's pieces.
func (m marks) unmarked(rendered string, spans []span) []span {
	out := slices.Clone(spans)
	removed := 0
	for i, r := range rendered {
		if !m.is(r) {
			continue
		}
		for j, s := range spans {
			if s.lo > i {
				out[j].lo -= utf8.RuneLen(r)
			}
			if s.hi > i {
				out[j].hi -= utf8.RuneLen(r)
			}
		}
		removed++
	}
	if removed == 0 {
		return spans
	}
	return out
}
