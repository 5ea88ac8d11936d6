package terminal

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a cat, été 猫 \U0001f44d\u200d": "a cat, été 猫 \U0001f44d\u200d",
		"\x1b[2J\x1b]0;title\a":         `\x1b[2J\x1b]0;title\x07`,
		"a\nb\tc\r":                     `a\x0ab\x09c\x0d`,
		"\u009b31m":                     `\u009b31m`,
		"\x9b31m \xff":                  `\x9b31m \xff`,
		"a\u202etxt.exe\u2066":          `a\u202etxt.exe\u2066`,
		"\u200f(red)\u200e \uFFFD":      "\u200f(red)\u200e \uFFFD",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := PrintableText("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("%q", got)
	}
}
