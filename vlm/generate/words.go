package generate

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"patchwork/vlm/tokenizer"
)

// word is a piece of a text between spaces and the numbers of its tokens.
type word struct {
	text   string
	tokens []int
}

// longestWord is where a text without spaces is cut, in letters.
const longestWord = 20

// splitWords groups the tokens of a text into words. Special tokens, and those that
// are nothing but space, belong to none.
func splitWords(tok *tokenizer.Tokenizer, ids []int32) []word {
	var words []word
	var held []int // tokens whose last letter is not complete yet
	open := false  // the last word may go on
	add := func(piece string) {
		text := strings.TrimSpace(piece)
		first, _ := utf8.DecodeRuneInString(piece)
		last, _ := utf8.DecodeLastRuneInString(piece)
		if text != "" {
			if !open || unicode.IsSpace(first) || utf8.RuneCountInString(words[len(words)-1].text) >= longestWord {
				words = append(words, word{})
			}
			w := &words[len(words)-1]
			w.text, w.tokens = w.text+text, append(w.tokens, held...)
		}
		held, open = nil, text != "" && !unicode.IsSpace(last)
	}
	stream := tok.NewStream(true)
	for i, id := range ids {
		if tok.IsSpecial(id) {
			held, open = nil, false
			continue
		}
		held = append(held, i)
		if piece := stream.Next(id); piece != "" {
			add(piece)
		}
	}
	if rest := stream.Flush(); rest != "" {
		add(rest)
	}
	return words
}
