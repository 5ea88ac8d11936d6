package terminal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// logHandler writes a record as one plain line: the message and its attributes, with the
// level only where it is a warning or worse.
type logHandler struct {
	mu    *sync.Mutex
	w     io.Writer
	level slog.Level
	attrs []slog.Attr
}

// NewLogHandler writes records of at least a level to w, one plain line each.
func NewLogHandler(w io.Writer, level slog.Level) slog.Handler {
	return &logHandler{mu: &sync.Mutex{}, w: w, level: level}
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var s strings.Builder
	if r.Level >= slog.LevelWarn {
		fmt.Fprintf(&s, "%s: ", strings.ToLower(r.Level.String()))
	}
	s.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		fmt.Fprintf(&s, " %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, PrintableText(s.String())+"\n")
	return err
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)
	return &c
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
