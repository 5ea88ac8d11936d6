package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// typist is a terminal's standard input, and what the terminal shows.
type typist struct {
	t      *testing.T
	master *os.File
	tty    *os.File

	mu     sync.Mutex
	screen bytes.Buffer
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	master, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 100}))
	y := &typist{t: t, master: master, tty: tty}
	before := os.Stdin
	os.Stdin = tty
	t.Cleanup(func() { os.Stdin = before; tty.Close(); master.Close() })
	go func() {
		part := make([]byte, 1024)
		for {
			n, err := master.Read(part)
			if err != nil {
				return
			}
			y.mu.Lock()
			y.screen.Write(part[:n])
			y.mu.Unlock()
		}
	}()
	return y
}

func (y *typist) shown() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.screen.String()
}

// await waits until a text is shown so many times, then types.
func (y *typist) await(text string, times int, types string) {
	y.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(y.shown(), text) < times; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			y.t.Errorf("%q is not shown %d times: %q", text, times, y.shown())
			return
		}
	}
	_, _ = io.WriteString(y.master, types)
}

// aside types once, while the first answer is written.
type aside struct {
	bytes.Buffer
	once  sync.Once
	types func()
}

func (a *aside) Write(p []byte) (int, error) {
	a.once.Do(a.types)
	return a.Buffer.Write(p)
}

// TestChatEditor: at a terminal, lines are edited and recalled; what is typed during an answer is not
// shown in it but at the next prompt. Ctrl-D ends the conversation, Ctrl-C interrupts it, and the terminal
// is given back.
func TestChatEditor(t *testing.T) {
	model, _ := smallRun(t)
	args := []string{"infer", "--chat", "--model", model, "--device", "cpu", "--max-new-tokens", "6", "--json", "--log-level", "error"}
	y := newTypist(t)
	out := &aside{types: func() {
		_, _ = io.WriteString(y.master, "/help\r")
		time.Sleep(100 * time.Millisecond)
		if strings.Contains(y.shown(), "/help\r\n") {
			t.Errorf("shown within the answer: %q", y.shown())
		}
	}}
	done := make(chan int)
	go func() { done <- run(context.Background(), args, out, y.tty) }()
	y.await("> ", 1, "what coler\x7f\x7for?\r") // backspace
	y.await("/audio FILE", 1, "\x1b[A\x1b[A\r") // up, up: the question before /help
	y.await("> ", 4, "\x04")
	if code := <-done; code != 0 {
		t.Errorf("exit %d after Ctrl-D: %q", code, y.shown())
	}
	if got := answersOf(t, out.String()); len(got) != 2 || got[0].Text != got[1].Text || got[0].PromptTokens != got[1].PromptTokens {
		t.Errorf("%+v, want the same answer twice", got)
	}
	go func() { done <- run(context.Background(), args, io.Discard, y.tty) }()
	before := strings.Count(y.shown(), "> ")
	y.await("> ", before+1, "what\x03")
	if code := <-done; code != cli.ExitInterrupted {
		t.Errorf("exit %d after Ctrl-C", code)
	}
	state, err := unix.IoctlGetTermios(int(y.tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	if want := []bool{true, true, true}; !slices.Equal([]bool{state.Lflag&unix.ECHO != 0, state.Lflag&unix.ICANON != 0, state.Lflag&unix.ISIG != 0}, want) {
		t.Errorf("the terminal is left with %#x", state.Lflag)
	}
}
