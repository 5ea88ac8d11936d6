package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// line is a progress line on a terminal; elsewhere it writes nothing.
type line struct{ w io.Writer }

func newLine(w io.Writer) line {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		w = io.Discard
	}
	return line{w}
}

func (l line) show(done, all int, name string) {
	fmt.Fprintf(l.w, "\r\x1b[K%d of %d: %.60s", done, all, name)
}
func (l line) clear() { fmt.Fprint(l.w, "\r\x1b[K") }
