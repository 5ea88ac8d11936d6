//go:build unix

package folderlock_test

import (
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/folderlock"
	"patchwork/internal/require"
)

// TestNamed renames an open file, which Windows does not permit.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	if !folderlock.Named(f) {
		t.Error("not named before renaming")
	}
	require.NoError(t, os.Rename(path, filepath.Join(dir, "b")))
	if folderlock.Named(f) {
		t.Error("named after renaming")
	}
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	if folderlock.Named(f) {
		t.Error("named although another file has the name")
	}
}
