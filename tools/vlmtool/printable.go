package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns a text from data, a file's name or a model's answer as it may be
// written to a terminal: what would move the cursor, change colours or turn the
// direction of the line is written out, as in Go's strings.
func printable(s string) string { return escape(s, "") }

// printableText is printable that keeps lines and tabs.
func printableText(s string) string { return escape(s, "\n\t") }

func escape(s, keep string) string {
	if strings.IndexFunc(s, harmful) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == utf8.RuneError || !harmful(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// harmful is true of control characters, of those that turn the direction of what
// follows (U+202A to U+202E, U+2066 to U+2069), of line separators, and of what
// stands for invalid UTF-8.
func harmful(r rune) bool {
	return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == utf8.RuneError
}
