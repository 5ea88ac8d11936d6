package folderlock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/folderlock"
	"patchwork/internal/require"
)

func TestTake(t *testing.T) {
	dir := t.TempDir()
	first, err := folderlock.Take(dir)
	require.NoError(t, err)
	if _, err := folderlock.Take(dir); !errors.Is(err, folderlock.ErrBusy) {
		t.Errorf("second Take: %v", err)
	}
	require.NoError(t, first.Release())
	second, err := folderlock.Take(dir) // the file is still there
	require.NoError(t, err)
	require.NoError(t, second.Remove())
	if _, err := os.Stat(filepath.Join(dir, folderlock.Name)); err == nil {
		t.Error("the file is still there")
	}
	if _, err := folderlock.Take(filepath.Join(dir, "none")); err == nil || errors.Is(err, folderlock.ErrBusy) {
		t.Errorf("missing folder: %v", err)
	}
}
