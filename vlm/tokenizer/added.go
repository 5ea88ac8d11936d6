package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// matcher finds added tokens in text, leftmost-longest.
type matcher struct {
	tokens  map[string]addedToken
	lengths *[256][]int // the lengths of tokens by their first byte, descending
}

func newMatcher() matcher { return matcher{map[string]addedToken{}, &[256][]int{}} }

// add adds a token, unless there is one of the same text.
func (m matcher) add(a addedToken) {
	if _, ok := m.tokens[a.Content]; ok || a.Content == "" {
		return
	}
	m.tokens[a.Content] = a
	lengths := &m.lengths[a.Content[0]]
	at, found := slices.BinarySearchFunc(*lengths, len(a.Content), func(x, y int) int { return cmp.Compare(y, x) })
	if !found {
		*lengths = slices.Insert(*lengths, at, len(a.Content))
	}
}

// at returns the longest token that text starts with.
func (m matcher) at(text string) (addedToken, bool) {
	for _, n := range m.lengths[text[0]] {
		if n > len(text) {
			continue
		}
		if a, ok := m.tokens[text[:n]]; ok {
			return a, true
		}
	}
	return addedToken{}, false
}

// split calls token for each added token in text and plain for the text between them, in
// order. lo and hi are byte offsets. Special tokens are matched only where trusted(lo, hi).
// Stripping of spaces and single-word matching follow Hugging Face's tokenizers
// (added_vocabulary.rs, find_matches).
func (m matcher) split(text string, trusted func(lo, hi int) bool, plain func(lo, hi int), token func(id int32, lo int)) {
	done := 0
	for i := 0; i < len(text); {
		a, ok := m.at(text[i:])
		if !ok {
			i++
			continue
		}
		lo, hi := i, i+len(a.Content)
		if a.Special && !trusted(lo, hi) {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		i = hi
		if a.SingleWord && (endsWithWord(text[:lo]) || startsWithWord(text[hi:])) {
			continue
		}
		if a.Lstrip {
			lo = max(done, len(strings.TrimRightFunc(text[:lo], unicode.IsSpace)))
		}
		if a.Rstrip {
			hi = len(text) - len(strings.TrimLeftFunc(text[hi:], unicode.IsSpace))
		}
		if done < lo {
			plain(done, lo)
		}
		token(a.ID, lo)
		i, done = hi, hi
	}
	if done < len(text) {
		plain(done, len(text))
	}
}

func startsWithWord(text string) bool {
	r, size := utf8.DecodeRuneInString(text)
	return size > 0 && inWord(r)
}

func endsWithWord(text string) bool {
	r, size := utf8.DecodeLastRuneInString(text)
	return size > 0 && inWord(r)
}

// inWord reports whether r matches \w of Unicode's regular expressions (UTS 18, annex C).
func inWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
