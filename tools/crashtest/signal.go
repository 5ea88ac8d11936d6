//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// signals interrupts runs once, and again while they save.
func (l *lab) signals() error {
	for _, c := range []struct {
		name  string
		first syscall.Signal
		again bool
	}{
		{"SIGINT", syscall.SIGINT, false}, {"SIGTERM", syscall.SIGTERM, false}, {"SIGTERM and, while it saves, SIGINT", syscall.SIGTERM, true},
	} {
		s, out := l.nextSetting(), l.folder()
		code, err := l.interrupt(s, out, c.first, c.again)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := l.toTheEnd(s, out); err != nil {
			return err
		}
		if err := l.compare(s, out); err != nil {
			return err
		}
		l.table.add(s.name, c.name, code+", resumed, same result")
	}
	return nil
}

// interrupt sends a signal in the middle of a run and, if again is set, another one while
// the run saves. It returns how the run ended.
func (l *lab) interrupt(s setting, out string, first syscall.Signal, again bool) (string, error) {
	p, err := l.start(s, out)
	if err != nil {
		return "", err
	}
	at := 2 * (1 + l.random.IntN(l.steps/2-2)) // of the checkpoints
	if ended, err := p.until(hasFile(out, fmt.Sprintf("checkpoints/step-%06d", at))); ended || err != nil {
		return "", errors.Join(err, fmt.Errorf("it ended before step %d:\n%s", at, p.stderr))
	}
	if err := p.signal(first); err != nil {
		return "", err
	}
	if !again {
		return "exit 130", p.endsWith(130)
	}
	if _, err := p.until(p.wrote("interrupted: saving")); err != nil {
		return "", err
	}
	if err := p.signal(syscall.SIGINT); err != nil {
		return "", err
	}
	code, killed, err := p.end()
	switch {
	case err != nil:
		return "", err
	case killed == syscall.SIGINT:
		return "ended at once", nil
	case code == 130: // it ended before the second signal
		return "exit 130", nil
	}
	return "", fmt.Errorf("exit %d, signal %d:\n%s", code, killed, p.stderr)
}

// secondRun starts another run in the folder of a running one.
func (l *lab) secondRun() error {
	s, out := l.nextSetting(), l.folder()
	first, err := l.start(s, out)
	if err != nil {
		return err
	}
	defer first.signal(syscall.SIGKILL)
	if ended, err := first.until(hasFile(out, "metrics.jsonl")); ended || err != nil {
		return errors.Join(err, fmt.Errorf("it ended early:\n%s", first.stderr))
	}
	if err := first.signal(syscall.SIGSTOP); err != nil { // keeps it running
		return err
	}
	second, err := l.start(s, out)
	if err != nil {
		return err
	}
	if err := second.endsWith(1); err != nil {
		return err
	}
	if text := second.stderr.String(); !strings.Contains(text, "another run is using it") {
		return fmt.Errorf("the second run wrote:\n%s", text)
	}
	if err := first.signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := first.endsWith(0); err != nil {
		return err
	}
	l.table.add(s.name, "a second run in its folder", "rejected with exit 1; the first has the same result")
	return l.compare(s, out)
}
