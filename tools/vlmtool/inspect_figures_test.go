package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/require"
)

// TestFiguresAreReplaced: a figure replaces an earlier file when it is complete, and does not
// write into it.
func TestFiguresAreReplaced(t *testing.T) {
	model, _ := smallRun(t)
	dir := t.TempDir()
	earlier := []byte("an earlier figure")
	file, kept := filepath.Join(dir, "positions.png"), filepath.Join(t.TempDir(), "kept.png")
	require.NoError(t, os.WriteFile(file, earlier, 0o644))
	require.NoError(t, os.Link(file, kept))
	require.NoError(t, os.WriteFile(file+".tmp", []byte("of a killed drawing"), 0o644))
	if got := vlmtool("inspect", model, "--figures", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if text, err := os.ReadFile(kept); err != nil || !bytes.Equal(text, earlier) {
		t.Errorf("the earlier one became %d bytes (%v)", len(text), err)
	}
	if text, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(text, []byte("\x89PNG")) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
