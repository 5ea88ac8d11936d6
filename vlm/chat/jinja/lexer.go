package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	endOfText tokenKind = iota
	dataToken
	nameToken
	stringToken
	numberToken
	operatorToken
	variableBegin
	variableEnd
	blockBegin
	blockEnd
)

// A token is a token of a template. Its text is the name, operator, data, or unescaped
// string.
type token struct {
	kind  tokenKind
	text  string
	value Value // of a number
	line  int
}

func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "end of template"
	case variableBegin, variableEnd, blockBegin, blockEnd, operatorToken, nameToken:
		return t.text
	}
	return strconv.Quote(t.text)
}

// lexer follows jinja2's lexer with trim_blocks and lstrip_blocks (jinja2/lexer.py).
type lexer struct {
	src        string
	at, line   int
	lineStarts bool // the last match ended a line, so that spaces before a tag are stripped
	tokens     []token
	brackets   []byte // expected closing brackets
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// lex splits a template into tokens. One trailing newline is dropped.
func lex(src string) ([]token, error) {
	l := &lexer{src: strings.TrimSuffix(newlines.Replace(src), "\n"), line: 1, lineStarts: true}
	for l.at < len(l.src) {
		if err := l.data(); err != nil {
			return nil, err
		}
	}
	l.add(token{kind: endOfText})
	return l.tokens, nil
}

func (l *lexer) add(t token) {
	t.line = l.line
	l.tokens = append(l.tokens, t)
}

// skip consumes n bytes, counting lines.
func (l *lexer) skip(n int) string {
	part := l.src[l.at : l.at+n]
	l.at += n
	l.line += strings.Count(part, "\n")
	if n > 0 {
		l.lineStarts = strings.HasSuffix(part, "\n")
	}
	return part
}

func (l *lexer) fail(format string, args ...any) error {
	return &Error{Line: l.line, Reason: fmt.Sprintf(format, args...)}
}

func (l *lexer) rest() string { return l.src[l.at:] }

// data consumes text up to the next tag, and the tag.
func (l *lexer) data() error {
	rest := l.rest()
	begin := -1
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			begin = i
			break
		}
	}
	if begin < 0 {
		l.add(token{kind: dataToken, text: rest})
		l.skip(len(rest))
		return nil
	}
	sign := signAt(rest, begin+2)
	text := l.leftOf(rest[:begin], sign, rest[begin+1] == '{')
	if text != "" {
		l.add(token{kind: dataToken, text: text})
	}
	l.skip(begin)
	open := l.skip(2 + len(sign))
	switch open[1] {
	case '#':
		return l.comment()
	case '{':
		l.add(token{kind: variableBegin, text: "{{"})
		return l.expression(variableEnd, "}}")
	}
	if n, ok := rawBegin(l.rest()); ok {
		l.skip(n)
		return l.raw()
	}
	l.add(token{kind: blockBegin, text: "{%"})
	return l.expression(blockEnd, "%}")
}

func signAt(s string, at int) string {
	if at < len(s) && (s[at] == '-' || s[at] == '+') {
		return s[at : at+1]
	}
	return ""
}

// leftOf returns the text before a tag, stripped as the tag requires.
func (l *lexer) leftOf(text, sign string, variable bool) string {
	if sign == "-" {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == "+" || variable {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStarts) && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

// closing returns the length of a tag's end at the start of s, including the whitespace that
// it strips; 0 if there is none.
func closing(s, end string, trims bool) int {
	switch {
	case strings.HasPrefix(s, "-"+end):
		return len(s) - len(strings.TrimLeftFunc(s[1+len(end):], isSpace))
	case trims && strings.HasPrefix(s, "+"+end):
		return 1 + len(end)
	case !strings.HasPrefix(s, end):
		return 0
	case trims && strings.HasPrefix(s[len(end):], "\n"):
		return len(end) + 1
	}
	return len(end)
}

func (l *lexer) comment() error {
	rest := l.rest()
	for i := range len(rest) {
		if n := closing(rest[i:], "#}", true); n > 0 {
			l.skip(i + n)
			return nil
		}
	}
	return l.fail("Missing end of comment tag")
}

// rawBegin matches the rest of {% raw %} after its opening.
func rawBegin(s string) (n int, ok bool) {
	t := strings.TrimLeftFunc(s, isSpace)
	if !strings.HasPrefix(t, "raw") {
		return 0, false
	}
	t = strings.TrimLeftFunc(t[3:], isSpace)
	n = closing(t, "%}", false)
	return len(s) - len(t) + n, n > 0
}

func (l *lexer) raw() error {
	rest := l.rest()
	for i := range len(rest) {
		if !strings.HasPrefix(rest[i:], "{%") {
			continue
		}
		sign := signAt(rest, i+2)
		t := strings.TrimLeftFunc(rest[i+2+len(sign):], isSpace)
		if !strings.HasPrefix(t, "endraw") {
			continue
		}
		t = strings.TrimLeftFunc(t[len("endraw"):], isSpace)
		n := closing(t, "%}", true)
		if n == 0 {
			continue
		}
		l.add(token{kind: dataToken, text: l.leftOf(rest[:i], sign, false)})
		l.skip(len(rest) - len(t) + n)
		return nil
	}
	return l.fail("Missing end of raw directive")
}

// expression consumes the inside of a tag. The end of the tag is not matched inside
// brackets.
func (l *lexer) expression(kind tokenKind, end string) error {
	l.brackets = l.brackets[:0]
	for l.at < len(l.src) {
		rest := l.rest()
		if len(l.brackets) == 0 {
			if n := closing(rest, end, kind == blockEnd); n > 0 {
				l.add(token{kind: kind, text: end})
				l.skip(n)
				return nil
			}
		}
		if err := l.inside(rest); err != nil {
			return err
		}
	}
	return nil
}

func (l *lexer) inside(rest string) error {
	c, size := utf8.DecodeRuneInString(rest)
	switch {
	case isSpace(c):
		l.skip(size)
		return nil
	case c >= '0' && c <= '9':
		return l.number(rest)
	case c == '_' || unicode.IsLetter(c):
		n := strings.IndexFunc(rest, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)
		})
		if n < 0 {
			n = len(rest)
		}
		l.add(token{kind: nameToken, text: rest[:n]})
		l.skip(n)
		return nil
	case c == '\'' || c == '"':
		return l.quoted(rest)
	}
	return l.operator(rest)
}

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

func (l *lexer) operator(rest string) error {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		if err := l.balance(op); err != nil {
			return err
		}
		l.add(token{kind: operatorToken, text: op})
		l.skip(len(op))
		return nil
	}
	c, _ := utf8.DecodeRuneInString(rest)
	return l.fail("unexpected char %q", c)
}

func (l *lexer) balance(op string) error {
	switch op {
	case "(", "[", "{":
		l.brackets = append(l.brackets, map[string]byte{"(": ')', "[": ']', "{": '}'}[op])
	case ")", "]", "}":
		if len(l.brackets) == 0 {
			return l.fail("unexpected '%s'", op)
		}
		due := l.brackets[len(l.brackets)-1]
		if due != op[0] {
			return l.fail("unexpected '%s', expected '%c'", op, due)
		}
		l.brackets = l.brackets[:len(l.brackets)-1]
	}
	return nil
}

// number consumes an integer or a float; after a dot (a.1.2), only an integer.
func (l *lexer) number(rest string) error {
	n := digits(rest, 0)
	float := false
	if l.at == 0 || l.src[l.at-1] != '.' {
		if m := digits(rest, n+1); n < len(rest) && rest[n] == '.' && m > n+1 {
			n, float = m, true
		}
		if n < len(rest) && rest[n]|0x20 == 'e' {
			m := n + 1 + len(signAt(rest, n+1))
			if k := digits(rest, m); k > m {
				n, float = k, true
			}
		}
	}
	if float {
		v, err := strconv.ParseFloat(strings.ReplaceAll(rest[:n], "_", ""), 64)
		if err != nil && v == 0 {
			return l.fail("the number %s", rest[:n])
		}
		l.add(token{kind: numberToken, text: rest[:n], value: v})
		l.skip(n)
		return nil
	}
	text := rest[:n]
	if text == "0" && len(rest) > 2 && strings.ContainsRune("xXoObB", rune(rest[1])) {
		if m := 2 + baseDigits(rest[2:], rest[1]|0x20); m > 2 {
			text = rest[:m]
		}
	}
	if len(text) > 1 && text[0] == '0' && text[1] <= '9' && strings.Trim(text, "0_") != "" {
		// Python allows no leading zeros: jinja2 reads 0, then the rest.
		text = text[:1]
	}
	if len(text) > maxDigits {
		return l.fail("a number of %d digits", len(text))
	}
	v, ok := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), numberBase(text))
	if !ok {
		return l.fail("the number %s", text)
	}
	l.add(token{kind: numberToken, text: text, value: shortInt(v)})
	l.skip(len(text))
	return nil
}

func numberBase(text string) int {
	if len(text) > 2 && text[1] > '9' {
		return 0
	}
	return 10
}

// digits returns the end of the decimal digits at from, which may have single underscores in
// between.
func digits(s string, from int) int {
	i := from
	for i < len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			i++
		case i > from && s[i] == '_' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
			i++
		default:
			return i
		}
	}
	return min(i, len(s))
}

func baseDigits(s string, base byte) int {
	set := map[byte]string{'x': "0123456789abcdefABCDEF_", 'o': "01234567_", 'b': "01_"}[base]
	return len(s) - len(strings.TrimLeft(s, set))
}

func (l *lexer) quoted(rest string) error {
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			text, err := unescape(rest[1:i])
			if err != nil {
				return l.fail("%v", err)
			}
			l.add(token{kind: stringToken, text: text})
			l.skip(i + 1)
			return nil
		}
	}
	return l.fail("unexpected char %q", rune(quote))
}

var simpleEscapes = map[byte]string{'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape resolves escapes as Python's unicode-escape does. Invalid escapes are kept.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "\\") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if text, ok := simpleEscapes[c]; ok {
			b.WriteString(text)
			continue
		}
		switch {
		case c >= '0' && c <= '7':
			n := i
			for n < len(s) && n < i+3 && s[n] >= '0' && s[n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:n], 8, 32)
			b.WriteRune(rune(v))
			i = n - 1
		case c == 'x' || c == 'u' || c == 'U':
			width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+1+width > len(s) {
				return "", fmt.Errorf("truncated \\%c escape in a string", c)
			}
			v, err := strconv.ParseUint(s[i+1:i+1+width], 16, 32)
			if err != nil || v > unicode.MaxRune {
				return "", fmt.Errorf("invalid \\%c escape in a string", c)
			}
			b.WriteRune(rune(v))
			i += width
		case c == 'N':
			return "", fmt.Errorf("characters by name (\\N) are not supported")
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// isSpace is Python's isspace: Unicode's spaces and four ASCII separators.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
