//go:build unix

package tuned

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
)

// TestLoadTraps: a special file at the path of the tuned choices is an error, without
// blocking.
func TestLoadTraps(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	info := engine.Info{Device: "vulkan:0", Name: "a GPU"}
	path, err := Path(info)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.Symlink("/dev/zero", path))
	if _, err := Load(info); err == nil || !strings.Contains(err.Error(), "is a device") {
		t.Errorf("got %v", err)
	}
}
