//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a run in its own process group.
type process struct {
	command *exec.Cmd
	out     string
	stderr  *transcript
	ended   chan struct{} // closed at its end
}

// transcript collects a process's output.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func (l *lab) start(s setting, out string) (*process, error) {
	p := &process{command: exec.Command(l.tool, l.arguments(s, out)...), out: out, stderr: &transcript{}, ended: make(chan struct{})}
	p.command.Stderr, p.command.Env = p.stderr, l.environment()
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // its outcome is in ProcessState
		close(p.ended)
	}()
	return p, nil
}

// signal sends a signal to the process group, if it still exists.
func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	err := syscall.Kill(-p.command.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// waitLimit bounds every wait.
const waitLimit = 2 * time.Minute

var errTimeout = errors.New("timed out")

// until waits for a condition, or for the end of the process.
func (p *process) until(condition func() bool) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for !condition() {
		select {
		case <-p.ended:
			return true, nil
		case <-ctx.Done():
			return false, errors.Join(errTimeout, p.signal(syscall.SIGKILL))
		case <-time.After(200 * time.Microsecond):
		}
	}
	return false, nil
}

// end waits for the exit code; killed is the signal that ended it instead.
func (p *process) end() (code int, killed syscall.Signal, err error) {
	if ended, err := p.until(func() bool { return false }); !ended {
		return 0, 0, err
	}
	status := p.command.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -1, status.Signal(), nil
	}
	return status.ExitStatus(), 0, nil
}

// errorLine waits for a process that must exit with 1 and one line, which it returns.
func (p *process) errorLine() (string, error) {
	if err := p.endsWith(1); err != nil {
		return "", err
	}
	text := p.stderr.String()
	if strings.Count(text, "\n") != 1 {
		return "", fmt.Errorf("more than one line:\n%s", text)
	}
	return text, nil
}

// endsWith waits for a process that must exit with a code.
func (p *process) endsWith(want int) error {
	code, killed, err := p.end()
	if err != nil {
		return err
	}
	if code != want || killed != 0 {
		return fmt.Errorf("%s: exit %d (signal %d), want %d:\n%s", p.out, code, killed, want, p.stderr)
	}
	return nil
}

// toTheEnd resumes a run and waits until it is done.
func (l *lab) toTheEnd(s setting, out string) error {
	p, err := l.start(s, out)
	if err != nil {
		return err
	}
	return p.endsWith(0)
}

// hasFile reports whether a run has a file that matches a pattern.
func hasFile(out, pattern string) func() bool {
	return func() bool {
		found, _ := filepath.Glob(filepath.Join(out, pattern)) // the pattern is valid
		return len(found) > 0
	}
}

// wrote reports whether a process has written a text.
func (p *process) wrote(text string) func() bool {
	return func() bool { return strings.Contains(p.stderr.String(), text) }
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
