// Package score compares generated captions with reference captions: BLEU
// (Papineni et al., 2002) and CIDEr-D (Vedantam et al., 2015).
package score

import (
	"strings"
	"unicode"
)

// Order is the maximum n-gram length of both scores.
const Order = 4

// Caption is a generated caption and its reference captions, in words.
type Caption struct {
	Candidate  []string
	References [][]string
}

// Words splits a text into lower-case words. Punctuation is dropped, except inside words
// ("don't", "2.5"), as in COCO's caption evaluation.
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

// grams counts the n-grams of a caption. Their words are joined by a zero byte, which occurs
// in no word.
func grams(words []string, n int) map[string]int {
	counts := map[string]int{}
	for i := 0; i+n <= len(words); i++ {
		counts[strings.Join(words[i:i+n], "\x00")]++
	}
	return counts
}
