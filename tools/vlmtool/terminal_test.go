//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"patchwork/internal/require"

	"github.com/creack/pty"
)

var (
	escapes  = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	drawings = regexp.MustCompile(`\r\x1b\[K([^\r\n]*)`)
)

// TestTerminal trains in a wide and a narrow terminal: one line with a bar, redrawn in place
// and never wider than the terminal.
func TestTerminal(t *testing.T) {
	_, file := smallRun(t)
	terminal, tty, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	require.NoError(t, pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 140}))
	screen := make(chan []byte)
	go func() {
		var all bytes.Buffer
		io.Copy(&all, terminal) // ends with an error when the tty is closed
		screen <- all.Bytes()
	}()
	train := func(out string) {
		t.Helper()
		code := run(context.Background(), []string{"train", "--data", file, "--out", filepath.Join(t.TempDir(), out), "--device", "cpu",
			"--steps", "2", "--seq-len", "160", "--pool-size", "8", "--val-every", "2", "--price-per-hour", "2", "--peak-tflops", "1"}, io.Discard, tty)
		if code != 0 {
			t.Errorf("exit %d", code)
		}
	}
	train("wide")
	require.NoError(t, pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 50}))
	train("narrow")
	require.NoError(t, tty.Close())
	text := string(<-screen)
	wide, narrow := 0, 0
	for _, m := range drawings.FindAllStringSubmatch(text, -1) {
		line := escapes.ReplaceAllString(m[1], "")
		if !strings.HasPrefix(line, "█") && !strings.HasPrefix(line, "░") {
			continue // written above the live line
		}
		switch n := utf8.RuneCountInString(line); {
		case n >= 140 || narrow > 0 && n >= 50:
			t.Errorf("%d cells: %q", n, line)
		case n >= 50:
			wide++
			for _, part := range []string{"█", "step ", "loss ", "tokens/s", "images/s", "% of peak", "MiB", "$0.00 left"} {
				// The first step has no time and cost yet.
				if !strings.Contains(line, part) && !strings.Contains(line, "? left") {
					t.Errorf("no %q in %q", part, line)
				}
			}
		default:
			narrow++
			if !strings.Contains(line, "step ") || !strings.Contains(line, "loss ") {
				t.Errorf("%q", line)
			}
		}
	}
	if wide == 0 || narrow == 0 {
		t.Errorf("drawn %d times in the wide terminal, %d in the narrow one:\n%q", wide, narrow, text)
	}
}
