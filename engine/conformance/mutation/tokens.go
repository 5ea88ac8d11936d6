package mutation

import "regexp"

// token is a word, a number, an operator or a bracket of WGSL.
type token struct {
	text string
	at   int // byte offset
	line int // from 1
}

var lexeme = regexp.MustCompile(`//[^\n]*|\n|[A-Za-z_]\w*|0x[0-9a-fA-F]+u?|\d+\.\d*(?:e[+-]?\d+)?f?|\d+(?:e[+-]?\d+f?)?[uif]?|\.\d+|&&|\|\||[<>=!]=|<<|>>|\+\+|->|[^\s]`)

var (
	isWord    = regexp.MustCompile(`^[A-Za-z_]`)
	isInteger = regexp.MustCompile(`^\d+[ui]?$`)
	isFloat   = regexp.MustCompile(`^\d+(\.\d*(e[+-]?\d+)?|e[+-]?\d+)f?$`)
	isGeneric = regexp.MustCompile(`^(vec[234]|mat[234]x[234]|array|bitcast|var|ptr|atomic)$`)
)

// scan splits WGSL into tokens, without comments. Angle brackets around types are "‹" and
// "›" in text, to distinguish them from comparisons.
func scan(source string) []token {
	var tokens []token
	line, generic := 1, 0
	for _, m := range lexeme.FindAllStringIndex(source, -1) {
		text := source[m[0]:m[1]]
		switch {
		case text == "\n":
			line++
			continue
		case len(text) > 1 && text[:2] == "//":
			continue
		case text == "<" && len(tokens) > 0 && isGeneric.MatchString(tokens[len(tokens)-1].text):
			text = "‹"
			generic++
		case text == ">" && generic > 0:
			text = "›"
			generic--
		case text == ">>" && generic > 0: // two that close
			tokens = append(tokens, token{"›", m[0], line})
			text, m[0] = "›", m[0]+1
			generic = max(0, generic-2)
		}
		tokens = append(tokens, token{text, m[0], line})
	}
	return tokens
}

// operand reports whether a token can end an operand: the operator after it is then
// binary.
func operand(t token) bool {
	return isWord.MatchString(t.text) && t.text != "return" || isInteger.MatchString(t.text) || isFloat.MatchString(t.text) || t.text == ")" || t.text == "]"
}

// closing is the index of the token that closes the bracket at tokens[open], or
// the last token.
func closing(tokens []token, open int) int {
	depth := 0
	for i := open; i < len(tokens); i++ {
		switch tokens[i].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(tokens) - 1
}
