package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes a text from data, a file's name or a model's answer safe for a
// terminal: control characters, bidirectional controls and invalid UTF-8 are escaped as
// in Go's strings.
func Printable(s string) string { return escape(s, "") }

// PrintableText is Printable that keeps line ends and tabs.
func PrintableText(s string) string { return escape(s, "\n\t") }

func escape(s, keep string) string {
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == utf8.RuneError || !unsafe(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// unsafe is true of control characters, line separators, bidirectional controls (U+202A
// to U+202E, U+2066 to U+2069) and the replacement for invalid UTF-8.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == utf8.RuneError
}
