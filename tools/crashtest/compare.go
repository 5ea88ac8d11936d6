//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// compare is an error if a disturbed run differs from the reference.
func (l *lab) compare(s setting, out string) error {
	want := l.reference(s)
	entries, err := os.ReadDir(want)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); name {
		case ".lock", "checkpoints", "run.json", "metrics.jsonl", "loss.png", "tensorboard":
			continue
		default:
			if err := sameBytes(filepath.Join(want, name), filepath.Join(out, name)); err != nil {
				return err
			}
		}
	}
	if err := sameMetrics(filepath.Join(want, "metrics.jsonl"), filepath.Join(out, "metrics.jsonl")); err != nil {
		return err
	}
	return noLeftovers(out)
}

func sameBytes(a, b string) error {
	x, err := os.ReadFile(a)
	if err != nil {
		return err
	}
	y, err := os.ReadFile(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return fmt.Errorf("%s and %s differ", a, b)
	}
	return nil
}

// line has the fields of metrics.jsonl that do not depend on time.
type line struct {
	Step     int         `json:"step"`
	Tokens   int64       `json:"tokens"`
	Loss     json.Number `json:"loss"`
	GradNorm json.Number `json:"grad_norm"`
	LR       json.Number `json:"lr"`
	ValLoss  json.Number `json:"val_loss"`
}

func readMetrics(path string) (lines []line, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for l := range bytes.Lines(text) {
		var one line
		if err := json.Unmarshal(l, &one); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(lines)+1, err)
		}
		lines = append(lines, one)
	}
	return lines, nil
}

func sameMetrics(a, b string) error {
	x, err := readMetrics(a)
	if err != nil {
		return err
	}
	y, err := readMetrics(b)
	if err != nil {
		return err
	}
	if len(x) != len(y) {
		return fmt.Errorf("%s has %d lines, but %s has %d", a, len(x), b, len(y))
	}
	for i := range x {
		if x[i] != y[i] {
			return fmt.Errorf("line %d of %s is %+v, that of %s is %+v", i+1, a, x[i], b, y[i])
		}
	}
	return nil
}

// noLeftovers is an error if a temporary file is still there.
func noLeftovers(out string) error {
	return filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		name := e.Name()
		if path != out && (name != ".lock" && strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, "broken-")) {
			return fmt.Errorf("%s is a leftover", path)
		}
		return err
	})
}
