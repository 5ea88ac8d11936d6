package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// liveLine is one line of a terminal that is drawn again and again; without a
// terminal it is a plain line every few seconds.
type liveLine struct {
	a     *app
	live  bool
	width int
	last  time.Time
	drawn bool
}

// Between two plain lines, and two drawings of a live one.
const (
	plainEvery = 5 * time.Second
	liveEvery  = 100 * time.Millisecond
)

func newLiveLine(a *app) *liveLine {
	l := &liveLine{a: a, width: 100}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !a.quiet {
		l.live = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			l.width = w
		}
	}
	return l
}

// due reports whether it is time to show the line again; the last one always is.
func (l *liveLine) due(last bool) bool {
	every := plainEvery
	if l.live {
		every = liveEvery
	}
	if l.a.quiet || time.Since(l.last) < every && !last {
		return false
	}
	l.last = time.Now()
	return true
}

// show writes the line, with a bar of the share that is done where it is live.
func (l *liveLine) show(done float64, line string) {
	if !l.live {
		fmt.Fprintln(l.a.stderr, line)
		return
	}
	line = bar(done, 20) + " " + line
	if r := []rune(line); len(r) > l.width-1 {
		line = string(r[:max(0, l.width-1)])
	}
	fmt.Fprintf(l.a.stderr, "\r\x1b[K%s", line)
	l.drawn = true
}

// above writes something above the live line.
func (l *liveLine) above(write func()) {
	if l.drawn {
		fmt.Fprint(l.a.stderr, "\r\x1b[K")
	}
	write()
}

// end leaves the line behind.
func (l *liveLine) end() {
	if l.drawn {
		fmt.Fprintln(l.a.stderr)
		l.drawn = false
	}
}

func bar(done float64, width int) string {
	full := int(done*float64(width) + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
