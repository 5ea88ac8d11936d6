package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// matcher finds added tokens in text: leftmost first, then the longest.
type matcher struct {
	byFirst map[byte][]addedToken // longest first
}

func newMatcher() matcher { return matcher{map[byte][]addedToken{}} }

func (m matcher) add(a addedToken) {
	list := append(m.byFirst[a.Content[0]], a)
	slices.SortStableFunc(list, func(a, b addedToken) int { return cmp.Compare(len(b.Content), len(a.Content)) })
	m.byFirst[a.Content[0]] = list
}

// at returns the token that text starts with.
func (m matcher) at(text string) (addedToken, bool) {
	for _, a := range m.byFirst[text[0]] {
		if strings.HasPrefix(text, a.Content) {
			return a, true
		}
	}
	return addedToken{}, false
}

// cut calls plain for the text between added tokens and token for each of them,
// in order. lo and hi are byte offsets in text. A special token counts only where
// trusted(lo, hi) holds.
func (m matcher) cut(text string, trusted func(lo, hi int) bool, plain func(lo, hi int), token func(id int32, lo int)) {
	done := 0
	for i := 0; i < len(text); {
		a, ok := m.at(text[i:])
		if !ok {
			i++
			continue
		}
		end := i + len(a.Content)
		if a.Special && !trusted(i, end) {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		if done < i {
			plain(done, i)
		}
		token(a.ID, i)
		i, done = end, end
	}
	if done < len(text) {
		plain(done, len(text))
	}
}
