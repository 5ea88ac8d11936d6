package disk

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestFree: existing and missing paths.
func TestFree(t *testing.T) {
	dir := t.TempDir()
	there, ok := Free(dir)
	if !ok && (runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows") {
		t.Fatal("free space is unknown")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "not", "there", "yet"), file, "."} {
		got, again := Free(path)
		if again != ok || got < 0 || path != "." && (got > 2*there+1<<30 || there > 2*got+1<<30) { // other processes write too
			t.Errorf("%s: %d bytes, %v; %d in the folder", path, got, again, there)
		}
	}
}
