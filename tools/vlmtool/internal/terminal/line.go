// Package terminal writes to a terminal: a live progress line, log lines, and text that
// is safe to show.
package terminal

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Line is a progress line. On a terminal it is redrawn in place, as wide as the terminal
// is at that moment; elsewhere it is a plain line every few seconds.
type Line struct {
	w     io.Writer
	quiet bool
	size  func() (width, height int, err error) // of the terminal; nil without one
	plain bool                                  // without colors
	last  time.Time
	drawn bool
}

// Field is a part of the line.
type Field struct {
	Text     string
	Rank     int    // fields of the highest rank are dropped first in a narrow terminal
	Color    string // escape sequence; "" = the default color
	LiveOnly bool   // left out of plain lines
}

// Intervals between plain lines and between redraws of a live one.
const (
	plainInterval = 5 * time.Second
	liveInterval  = 100 * time.Millisecond
)

// Colors of the terminal's own palette.
const (
	Dim    = "\x1b[2m"
	Bold   = "\x1b[1m"
	Red    = "\x1b[31m"
	Blue   = "\x1b[34m"
	Normal = "\x1b[0m"
)

// NewLine is a progress line on w, which writes nothing where quiet is set.
func NewLine(w io.Writer, quiet bool) *Line {
	l := &Line{w: w, quiet: quiet, plain: os.Getenv("NO_COLOR") != ""}
	f, ok := w.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		l.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	}
	return l
}

// Due reports whether it is time to show the line again; for the last one it always is.
func (l *Line) Due(last bool) bool {
	interval := plainInterval
	if l.size != nil {
		interval = liveInterval
	}
	if l.quiet || time.Since(l.last) < interval && !last {
		return false
	}
	l.last = time.Now()
	return true
}

// Show writes the fields; a live line begins with a bar of the fraction done.
func (l *Line) Show(done float64, fields ...Field) {
	fields = slices.DeleteFunc(fields, func(f Field) bool { return f.Text == "" || f.LiveOnly && l.size == nil })
	if l.size == nil {
		fmt.Fprintln(l.w, join(fields, true))
		return
	}
	width, _, err := l.size()
	if err != nil || width <= 0 {
		width = 80
	}
	fmt.Fprintf(l.w, "\r\x1b[K%s", layOut(done, fields, width-1, l.plain))
	l.drawn = true
}

// Cells of the bar.
const (
	minBar = 8
	maxBar = 32
)

// layOut fits a bar and the fields into width cells. Fields of the highest rank are
// dropped first; if the last one is still too wide, the bar is dropped and the field is
// truncated.
func layOut(done float64, fields []Field, width int, plain bool) string {
	fields = slices.Clone(fields)
	for len(fields) > 1 && minBar+1+cells(fields) > width {
		drop := 0
		for i, f := range fields {
			if f.Rank >= fields[drop].Rank {
				drop = i
			}
		}
		fields = slices.Delete(fields, drop, drop+1)
	}
	barWidth := width - cells(fields) - 1
	if barWidth < minBar {
		text := []rune(join(fields, true))
		return string(text[:max(0, min(len(text), width))])
	}
	return bar(done, min(barWidth, maxBar), plain) + " " + join(fields, plain)
}

// cells is the width of the fields; each of their runes takes one cell.
func cells(fields []Field) int { return utf8.RuneCountInString(join(fields, true)) }

func join(fields []Field, plain bool) string {
	var parts []string
	for _, f := range fields {
		if f.Color != "" && !plain {
			f.Text = f.Color + f.Text + Normal
		}
		parts = append(parts, f.Text)
	}
	return strings.Join(parts, "  ")
}

func bar(done float64, width int, plain bool) string {
	full := int(min(max(done, 0), 1)*float64(width) + 0.5)
	begin, middle, end := Blue, Normal+Dim, Normal
	if plain {
		begin, middle, end = "", "", ""
	}
	return begin + strings.Repeat("█", full) + middle + strings.Repeat("░", width-full) + end
}

// Above calls write, whose output appears above the live line.
func (l *Line) Above(write func()) {
	if l.drawn {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.drawn = false
	}
	write()
}

// End leaves the last drawing on the screen and moves to the next line.
func (l *Line) End() {
	if l.drawn {
		fmt.Fprintln(l.w)
		l.drawn = false
	}
}
