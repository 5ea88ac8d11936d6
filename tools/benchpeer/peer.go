package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// peer answers a case with a line of JSON.
type peer interface {
	answer(ctx context.Context, dtype string, sizes []string) ([]byte, error)
	close()
}

// start starts the peer.
func (o options) start(ctx context.Context) (peer, error) {
	switch {
	case len(o.command) == 0:
		return none{}, nil
	case o.serve:
		return startServer(ctx, o.command)
	}
	return command(o.command), nil
}

// ask returns the peer's milliseconds for a case.
func (o options) ask(ctx context.Context, p peer, c peerCase) (float64, error) {
	args, err := sizes(c.Case)
	if err != nil {
		return 0, err
	}
	text, err := p.answer(ctx, c.dtype, args)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", cmp.Or(o.peer, "peer"), err)
	}
	var answer struct {
		MS    float64 `json:"ms"`
		Error string  `json:"error"`
	}
	err = json.Unmarshal(text, &answer)
	switch {
	case err == nil && answer.Error != "":
		return 0, fmt.Errorf("%s: %s", o.peer, answer.Error)
	case err != nil || answer.MS <= 0:
		return 0, fmt.Errorf("%s wrote %q, want {\"ms\": …}", o.peer, text)
	}
	return answer.MS, nil
}

// none is the peer where none was given.
type none struct{}

func (none) answer(context.Context, string, []string) ([]byte, error) { return nil, errNone }
func (none) close()                                                   {}

var errNone = errors.New("no peer was given")

// command is run for every case.
type command []string

func (c command) answer(ctx context.Context, dtype string, sizes []string) ([]byte, error) {
	if dtype != "f32" {
		return nil, fmt.Errorf("only f32 without --serve, not %s", dtype)
	}
	args := slices.Concat(c, sizes)
	run := exec.CommandContext(ctx, args[0], args[1:]...)
	var errs bytes.Buffer
	run.Stderr = &errs
	text, err := run.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return text, nil
}

func (command) close() {}

// server is a peer that is started once.
type server struct {
	run   *exec.Cmd
	cases io.WriteCloser
	lines *bufio.Scanner
}

func startServer(ctx context.Context, command []string) (peer, error) {
	s := &server{run: exec.CommandContext(ctx, command[0], command[1:]...)}
	s.run.Stderr = os.Stderr
	var err error
	if s.cases, err = s.run.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.run.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.lines = bufio.NewScanner(out)
	return s, s.run.Start()
}

func (s *server) answer(_ context.Context, dtype string, sizes []string) ([]byte, error) {
	line := strings.Join(slices.Insert(slices.Clone(sizes), 1, dtype), " ")
	if _, err := fmt.Fprintln(s.cases, line); err != nil {
		return nil, err
	}
	if !s.lines.Scan() {
		return nil, errors.Join(errors.New("ended without an answer"), s.lines.Err())
	}
	return s.lines.Bytes(), nil
}

// close closes the peer's input, at whose end it exits.
func (s *server) close() {
	s.cases.Close()
	s.run.Wait() // its exit code no longer matters
}
