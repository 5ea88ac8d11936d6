//go:build unix

package blockcache

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"patchwork/internal/require"
)

// TestWriteFails: a write that fails midway is one warning and leaves no file; blocks that are
// there stay. It runs in a process of its own, whose files are limited in size.
func TestWriteFails(t *testing.T) {
	const variable = "PATCHWORK_TEST_WRITE_FAILS"
	if os.Getenv(variable) == "" {
		command := exec.Command(os.Args[0], "-test.run=^TestWriteFails$")
		command.Env = append(os.Environ(), variable+"=1")
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	var warnings []string
	dir := t.TempDir()
	c := New(Options{Dir: dir, Limit: 1 << 20, Warn: func(s string) { warnings = append(warnings, s) }})
	if !c.Put(key(0), block(7)) {
		t.Fatal("not written")
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	small := limit
	small.Cur = 500
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	kept := c.Put(key(1), block(1)) || c.Put(key(2), block(2)) || c.Keep("a", block(3))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	data := make([]byte, 1000)
	if kept || c.Has(key(1)) || !c.Get(key(0), data) || !bytes.Equal(data, block(7)) {
		t.Error("a block is lost or there although it was not written")
	}
	if n, others := used(t, dir); n != size || len(others) != 0 {
		t.Errorf("%d bytes, %q", n, others)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "cannot be written (file too large)") {
		t.Errorf("warnings %q", warnings)
	}
}
