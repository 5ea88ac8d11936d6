package terminal

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// IsTerminal reports whether a stream is a terminal. Streams that wrap a file have a
// method File.
func IsTerminal(stream any) bool {
	if w, ok := stream.(interface{ File() *os.File }); ok {
		stream = w.File()
	}
	f, _ := stream.(*os.File)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// Shorten makes a line of at most n characters of any text; control characters become
// U+FFFD.
func Shorten(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(strings.Fields(s), " "))
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Seconds formats a duration: "2m5s".
func Seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// Thousands formats 1234567 as "1,234,567".
func Thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
