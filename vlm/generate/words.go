package generate

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"patchwork/vlm/tokenizer"
)

// word is a word of a text, separated by spaces, with the indices of its tokens.
type word struct {
	text   string
	tokens []int
}

// maxWordLetters is the length at which text without spaces is split, in letters.
const maxWordLetters = 20

// splitWords groups the tokens of a text into words. Special tokens and tokens of spaces belong to
// none.
func splitWords(tok *tokenizer.Tokenizer, ids []int32) []word {
	var words []word
	var pending []int // tokens of a letter that is not complete yet
	open := false     // the last word may continue
	add := func(chunk string) {
		text := strings.TrimSpace(chunk)
		first, _ := utf8.DecodeRuneInString(chunk)
		last, _ := utf8.DecodeLastRuneInString(chunk)
		if text != "" {
			if !open || unicode.IsSpace(first) || utf8.RuneCountInString(words[len(words)-1].text) >= maxWordLetters {
				words = append(words, word{})
			}
			w := &words[len(words)-1]
			w.text, w.tokens = w.text+text, append(w.tokens, pending...)
		}
		pending, open = nil, text != "" && !unicode.IsSpace(last)
	}
	stream := tok.NewStream(true)
	for i, id := range ids {
		if tok.IsSpecial(id) {
			pending, open = nil, false
			continue
		}
		pending = append(pending, i)
		if chunk := stream.Next(id); chunk != "" {
			add(chunk)
		}
	}
	if rest := stream.Flush(); rest != "" {
		add(rest)
	}
	return words
}
