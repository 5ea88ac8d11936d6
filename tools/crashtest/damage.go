//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// damages are the ways to damage a file of a checkpoint.
var damages = []struct {
	name string
	do   func(l *lab, path string, size int64) error
}{
	{"a bit flipped", func(l *lab, path string, size int64) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[l.random.Int64N(size)] ^= 1 << l.random.IntN(8)
		return os.WriteFile(path, data, 0o644)
	}},
	{"truncated", func(l *lab, path string, size int64) error { return os.Truncate(path, l.random.Int64N(size)) }},
	{"removed", func(_ *lab, path string, _ int64) error { return os.Remove(path) }},
}

// all is larger than the number of files of a checkpoint.
const all = 100

// damage applies some kinds of damage to at most maxFiles files of the newest checkpoint of
// a run, each in a copy of the run.
func (l *lab) damage(kinds, maxFiles int) error {
	s := l.nextSetting()
	base, newest, err := l.halfway(s)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(newest)
	if err != nil {
		return err
	}
	l.random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	files = files[:min(len(files), maxFiles)]
	for _, d := range l.random.Perm(len(damages))[:kinds] {
		for _, f := range files {
			out := l.folder()
			if err := os.CopyFS(out, os.DirFS(base)); err != nil {
				return err
			}
			path := filepath.Join(out, "checkpoints", filepath.Base(newest), f.Name())
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := damages[d].do(l, path, info.Size()); err != nil {
				return err
			}
			if err := l.resumesDamaged(s, out, path); err != nil {
				return fmt.Errorf("%s %s: %w", f.Name(), damages[d].name, err)
			}
			if err := os.RemoveAll(out); err != nil {
				return err
			}
		}
		l.table.add(s.name, fmt.Sprintf("%s in the newest checkpoint, %d of its files one by one", damages[d].name, len(files)), "resumed from the one before, same result")
	}
	return nil
}

// resumesDamaged resumes a run whose newest checkpoint has a damaged file, which it must name
// in one line.
func (l *lab) resumesDamaged(s setting, out, damaged string) error {
	p, err := l.start(s, out)
	if err != nil {
		return err
	}
	if err := p.endsWith(0); err != nil {
		return err
	}
	warned := 0
	for text := range strings.Lines(p.stderr.String()) {
		// With a damaged SHA256SUMS another file may be named.
		if strings.Contains(text, "resuming from") && (strings.Contains(text, damaged) || filepath.Base(damaged) == "SHA256SUMS") {
			warned++
		}
	}
	if warned != 1 {
		return fmt.Errorf("%d lines name the damaged file, want one:\n%s", warned, p.stderr)
	}
	return l.compare(s, out)
}

// halfway is a run that was stopped after half of its steps, and its newest checkpoint.
func (l *lab) halfway(s setting) (out, newest string, err error) {
	out = l.folder()
	p, err := l.start(s, out)
	if err != nil {
		return "", "", err
	}
	if ended, err := p.until(hasFile(out, fmt.Sprintf("checkpoints/step-%06d", l.steps/4*2))); ended || err != nil {
		return "", "", errors.Join(err, fmt.Errorf("it ended before half of its steps:\n%s", p.stderr))
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return "", "", err
	}
	if err := p.endsWith(130); err != nil {
		return "", "", err
	}
	saved, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
	if err != nil || len(saved) < 3 {
		return "", "", errors.Join(err, fmt.Errorf("%s has %d checkpoints", out, len(saved)))
	}
	return out, slices.Max(saved), nil
}

// allDamaged resumes a run whose checkpoints are all damaged: it must name them and remove
// none.
func (l *lab) allDamaged() error {
	s := l.nextSetting()
	out, _, err := l.halfway(s)
	if err != nil {
		return err
	}
	saved, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
	if err != nil {
		return err
	}
	for _, c := range saved {
		if err := os.Truncate(filepath.Join(c, "model.safetensors"), 1000); err != nil {
			return err
		}
	}
	p, err := l.start(s, out)
	if err != nil {
		return err
	}
	text, err := p.errorLine()
	if err != nil {
		return err
	}
	for _, c := range saved {
		if !exists(filepath.Join(c, "model.safetensors")) || !strings.Contains(text, filepath.Base(c)) {
			return fmt.Errorf("%s was removed, or is not named by:\n%s", c, text)
		}
	}
	l.table.add(s.name, "all checkpoints damaged", "exit 1, each named, none removed")
	return nil
}
