package diskspace_test

import (
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"patchwork/internal/diskspace"
)

func TestFree(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("not told here")
	}
	dir := t.TempDir()
	here, below := diskspace.Free(dir), diskspace.Free(filepath.Join(dir, "not", "there"))
	if here <= 0 || here == math.MaxInt64 || below <= 0 || below == math.MaxInt64 {
		t.Errorf("%d bytes free, %d in a folder that is not there yet", here, below)
	}
}
