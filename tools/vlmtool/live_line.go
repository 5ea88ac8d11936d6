package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// liveLine is one line of a terminal that is drawn again and again, as wide as the
// terminal is then; without a terminal it is a plain line every few seconds.
type liveLine struct {
	a     *app
	size  func() (width, height int, err error) // of the terminal; nil without one
	plain bool                                  // without colors
	last  time.Time
	drawn bool
}

// field is a part of the line.
type field struct {
	text   string
	rank   int    // the highest is left out first where there is no room
	color  string // what selects it in a terminal, "" = the ordinary one
	liveOK bool   // for a terminal alone
}

// Between two plain lines, and two drawings of a live one.
const (
	plainEvery = 5 * time.Second
	liveEvery  = 100 * time.Millisecond
)

// The colors of a terminal's own palette.
const (
	dim    = "\x1b[2m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	blue   = "\x1b[34m"
	normal = "\x1b[0m"
)

func newLiveLine(a *app) *liveLine {
	l := &liveLine{a: a, plain: os.Getenv("NO_COLOR") != ""}
	f, ok := a.stderr.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		l.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	}
	return l
}

// due reports whether it is time to show the line again; the last one always is.
func (l *liveLine) due(last bool) bool {
	every := plainEvery
	if l.size != nil {
		every = liveEvery
	}
	if l.a.quiet || time.Since(l.last) < every && !last {
		return false
	}
	l.last = time.Now()
	return true
}

// show writes the fields, behind a bar of the share that is done where the line is
// live.
func (l *liveLine) show(done float64, fields ...field) {
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.text == "" || f.liveOK && l.size == nil })
	if l.size == nil {
		fmt.Fprintln(l.a.stderr, join(fields, true))
		return
	}
	width, _, err := l.size()
	if err != nil || width <= 0 {
		width = 80
	}
	fmt.Fprintf(l.a.stderr, "\r\x1b[K%s", layOut(done, fields, width-1, l.plain))
	l.drawn = true
}

// The bar's cells: no fewer than are worth looking at, no more than help.
const (
	leastBar = 8
	mostBar  = 32
)

// layOut fits a bar and the fields into so many cells. Fields of the highest rank
// go first; where one alone has no room, the bar goes, and then its end.
func layOut(done float64, fields []field, width int, plain bool) string {
	fields = slices.Clone(fields)
	for len(fields) > 1 && leastBar+1+cells(fields) > width {
		worst := 0
		for i, f := range fields {
			if f.rank >= fields[worst].rank {
				worst = i
			}
		}
		fields = slices.Delete(fields, worst, worst+1)
	}
	room := width - cells(fields) - 1
	if room < leastBar {
		text := []rune(join(fields, true))
		return string(text[:max(0, min(len(text), width))])
	}
	return bar(done, min(room, mostBar), plain) + " " + join(fields, plain)
}

// cells is how wide the fields are. Each of their runes takes one cell.
func cells(fields []field) int { return utf8.RuneCountInString(join(fields, true)) }

func join(fields []field, plain bool) string {
	var parts []string
	for _, f := range fields {
		if f.color != "" && !plain {
			f.text = f.color + f.text + normal
		}
		parts = append(parts, f.text)
	}
	return strings.Join(parts, "  ")
}

func bar(done float64, width int, plain bool) string {
	full := int(min(max(done, 0), 1)*float64(width) + 0.5)
	begin, middle, end := blue, normal+dim, normal
	if plain {
		begin, middle, end = "", "", ""
	}
	return begin + strings.Repeat("█", full) + middle + strings.Repeat("░", width-full) + end
}

// above writes something above the live line.
func (l *liveLine) above(write func()) {
	if l.drawn {
		fmt.Fprint(l.a.stderr, "\r\x1b[K")
		l.drawn = false
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
