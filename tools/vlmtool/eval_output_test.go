package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// writerFunc is an io.Writer of one function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestEvalOutput: --output takes its name when the evaluation is complete. One that fails
// after it wrote lines leaves the old file, and no other.
func TestEvalOutput(t *testing.T) {
	model, file := smallRun(t)
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o644))
	args := []string{"eval", "--model", model, "--data", file, "--device", "cpu", "--limit", "3", "--control", "none,blank", "--json", "--output", path}
	check := func(want int) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		left, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		if got := bytes.Count(text, []byte("\n")); got != want || len(left) != 1 {
			t.Errorf("%d lines, want %d; %d files", got, want, len(left))
		}
	}

	var stderr bytes.Buffer
	lines := 0 // of the first control
	code := run(t.Context(), args, writerFunc(func([]byte) (int, error) {
		temp, err := os.ReadFile(path + ".tmp")
		require.NoError(t, err)
		lines = bytes.Count(temp, []byte("\n"))
		return 0, errors.New("the output is full")
	}), &stderr)
	if code != cli.ExitFailed || lines == 0 {
		t.Errorf("exit %d after %d lines: %s", code, lines, stderr.String())
	}
	check(1)

	if got := vlmtool(args...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	check(2 * lines)
}
