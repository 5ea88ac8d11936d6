package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// class is a character class of the patterns: \s, \p{L}, \p{N} or other.
type class uint8

const (
	other class = iota
	space
	letter
	number
)

var asciiClass = func() (table [utf8.RuneSelf]class) {
	for r := range table {
		table[r] = classOf(rune(r))
	}
	return table
}()

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// first returns the class and size of the first character; size is 0 at the end.
func first(s string) (class, int) {
	if s == "" {
		return other, 0
	}
	if s[0] < utf8.RuneSelf {
		return asciiClass[s[0]], 1
	}
	r, size := utf8.DecodeRuneInString(s)
	return classOf(r), size
}

// run returns the length of the longest prefix of s of class c.
func run(s string, c class) int {
	n := 0
	for {
		k, size := first(s[n:])
		if size == 0 || k != c {
			return n
		}
		n += size
	}
}

// scan returns a stage that splits with next, which returns the length of the first piece.
func scan(next func(string) int) stage {
	return func(text string, yield func(lo, hi int) error) error {
		for lo := 0; lo < len(text); {
			hi := lo + next(text[lo:])
			if err := yield(lo, hi); err != nil {
				return err
			}
			lo = hi
		}
		return nil
	}
}

// gpt2Next matches gpt2Pattern at the start of s, which is not empty.
func gpt2Next(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	lead := 0
	if s[0] == ' ' {
		lead = 1
	}
	if c, size := first(s[lead:]); size > 0 && c != space {
		return lead + run(s[lead:], c)
	}
	return spaces(s)
}

// contraction matches 's|'t|'re|'ve|'m|'ll|'d.
func contraction(s string) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 && (s[1:3] == "re" || s[1:3] == "ve" || s[1:3] == "ll") {
		return 3
	}
	return 0
}

// spaces matches \s+(?!\S)|\s+: the last space before a word is not included.
func spaces(s string) int {
	n := run(s, space)
	if n == len(s) {
		return n
	}
	if _, last := utf8.DecodeLastRuneInString(s[:n]); last < n {
		return n - last
	}
	return n
}

// qwenNext matches qwenPattern at the start of s, which is not empty.
func qwenNext(s string) int { return digitsNext(s, 1) }

// llamaNext matches llamaPattern, which groups up to three digits.
func llamaNext(s string) int { return digitsNext(s, 3) }

func digitsNext(s string, digits int) int {
	if n := foldedContraction(s); n > 0 {
		return n
	}
	c, size := first(s)
	switch {
	case c == letter:
		return run(s, letter)
	case c == number:
		n := size
		for range digits - 1 {
			c, size := first(s[n:])
			if c != number {
				break
			}
			n += size
		}
		return n
	case s[0] != '\r' && s[0] != '\n':
		if n := run(s[size:], letter); n > 0 {
			return size + n
		}
	}
	lead := 0
	if s[0] == ' ' {
		lead = 1
	}
	if n := run(s[lead:], other); n > 0 {
		return lead + n + newlines(s[lead+n:])
	}
	if n := strings.LastIndexAny(s[:run(s, space)], "\r\n"); n >= 0 {
		return n + 1
	}
	return spaces(s)
}

// foldedContraction is contraction ignoring case; the long s folds to s.
func foldedContraction(s string) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	if strings.HasPrefix(s[1:], "ſ") {
		return 1 + len("ſ")
	}
	return contraction(strings.ToLower(s[:min(3, len(s))]))
}

// linesNext matches linesPattern at the start of s, which is not empty.
func linesNext(s string) int {
	if n := len(s) - len(strings.TrimLeft(s, "\n")); n > 0 {
		return n
	}
	if n := strings.IndexByte(s, '\n'); n > 0 {
		return n
	}
	return len(s)
}

func newlines(s string) int { return len(s) - len(strings.TrimLeft(s, "\r\n")) }

// individualDigits isolates every number character (Nd, Nl or No).
func individualDigits(text string, yield func(lo, hi int) error) error {
	return splitNumbers(text, false, yield)
}

// digitRuns isolates runs of number characters.
func digitRuns(text string, yield func(lo, hi int) error) error {
	return splitNumbers(text, true, yield)
}

func splitNumbers(text string, runs bool, yield func(lo, hi int) error) error {
	done := 0
	for i := 0; i < len(text); {
		c, size := first(text[i:])
		if c != number {
			i += size
			continue
		}
		if done < i {
			if err := yield(done, i); err != nil {
				return err
			}
		}
		if runs {
			size = run(text[i:], number)
		}
		if err := yield(i, i+size); err != nil {
			return err
		}
		i += size
		done = i
	}
	if done < len(text) {
		return yield(done, len(text))
	}
	return nil
}
