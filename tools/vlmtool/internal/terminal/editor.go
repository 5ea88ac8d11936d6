package terminal

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// ErrInterrupted reports Ctrl-C while a line is edited.
var ErrInterrupted = errors.New("interrupted")

// Editor reads lines from a terminal, which can be edited and recalled. Between lines what is typed is
// kept for the next one and not shown.
type Editor struct {
	in       *os.File
	lines    *term.Terminal
	keys     *keys
	original *term.State
}

// keys are what is typed; it notes Ctrl-C.
type keys struct {
	io.Reader
	io.Writer
	interrupted bool
}

const ctrlC = 3

func (k *keys) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	k.interrupted = k.interrupted || bytes.IndexByte(p[:n], ctrlC) >= 0
	return n, err
}

// NewEditor returns an editor for a terminal; nil if in is none that can be edited on. It shows the prompt
// and the line on out.
func NewEditor(in any, out io.Writer, prompt string) *Editor {
	f, ok := in.(*os.File)
	if !ok || !IsTerminal(f) || !IsTerminal(out) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	original, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil
	}
	k := &keys{Reader: f, Writer: out}
	e := &Editor{f, term.NewTerminal(k, prompt), k, original}
	e.hide()
	return e
}

// Line reads a line. The error is io.EOF after Ctrl-D, ErrInterrupted after Ctrl-C.
func (e *Editor) Line() (string, error) {
	if _, err := term.MakeRaw(int(e.in.Fd())); err != nil {
		return "", err
	}
	if width, height, err := term.GetSize(int(e.in.Fd())); err == nil && width > 0 {
		_ = e.lines.SetSize(width, height) // a prompt that does not fit is shown anyway
	}
	e.keys.interrupted = false
	line, err := e.lines.ReadLine()
	e.hide()
	if errors.Is(err, io.EOF) && e.keys.interrupted {
		err = ErrInterrupted
	}
	return line, err
}

// hide gives the terminal back, without showing what is typed.
func (e *Editor) hide() {
	_ = term.Restore(int(e.in.Fd()), e.original)
	setEcho(e.in, false)
}

// Close gives the terminal back.
func (e *Editor) Close() {
	if e != nil {
		_ = term.Restore(int(e.in.Fd()), e.original)
	}
}
