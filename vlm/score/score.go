// Package score compares generated captions with reference captions: BLEU
// (Papineni et al., 2002) and CIDEr-D (Vedantam et al., 2015).
package score

import (
	"strings"
	"unicode"
)

// Order is the longest n-gram that both scores count.
const Order = 4

// Caption is a generated caption with what people wrote, in words.
type Caption struct {
	Candidate  []string
	References [][]string
}

// Words cuts a text into lower-case words. Punctuation is dropped, except for
// what stands inside a word ("don't", "2.5"), as caption evaluation does.
func Words(s string) []string {
	fields := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !strings.ContainsRune("'’.-", r)
	})
	var words []string
	for _, f := range fields {
		if f = strings.Trim(f, "'’.-"); f != "" {
			words = append(words, f)
		}
	}
	return words
}

// grams counts the n-grams of a caption. A zero byte, which no word holds,
// joins their words.
func grams(words []string, n int) map[string]int {
	counts := map[string]int{}
	for i := 0; i+n <= len(words); i++ {
		counts[strings.Join(words[i:i+n], "\x00")]++
	}
	return counts
}
