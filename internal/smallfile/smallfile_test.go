//go:build unix

package smallfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"patchwork/internal/require"
	"patchwork/internal/smallfile"
)

func TestRead(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("text"), []byte("12345678"), 0o644))
	require.NoError(t, os.WriteFile(at("long"), []byte("123456789"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "text"), []byte("secret"), 0o644))
	require.NoError(t, os.Mkdir(at("folder"), 0o755))
	require.NoError(t, unix.Mkfifo(at("pipe"), 0o644))
	sparse, err := os.Create(at("sparse"))
	require.NoError(t, err)
	require.NoError(t, sparse.Truncate(1<<40))
	require.NoError(t, sparse.Close())
	for link, target := range map[string]string{"link": "text", "leads out": filepath.Join(elsewhere, "text"), "to a pipe": "pipe", "to itself": "to itself", "to nothing": "nothing", "to a device": "/dev/zero"} {
		require.NoError(t, os.Symlink(target, at(link)))
	}
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for _, c := range []struct {
		name   string
		want   string
		reason string // in an *Error
		system bool   // another error
		inside bool   // in a folder, there is one
	}{
		{name: "text", want: "12345678"},
		{name: "link", want: "12345678"},
		{name: "leads out", want: "secret", inside: true},
		{name: "long", reason: "more than 8 bytes"},
		{name: "sparse", reason: "more than 8 bytes"},
		{name: "folder", reason: "is a folder"},
		{name: "pipe", reason: "is a named pipe"},
		{name: "to a pipe", reason: "is a named pipe"},
		{name: "to a device", reason: "is a device", inside: true},
		{name: "to itself", system: true},
		{name: "to nothing", system: true},
		{name: "nothing", system: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := smallfile.Read(at(c.name), 8)
			var refused *smallfile.Error
			isRefused := errors.As(err, &refused)
			if string(text) != c.want || isRefused != (c.reason != "") || isRefused && !strings.Contains(err.Error(), c.reason) || c.system != (err != nil && !isRefused) {
				t.Errorf("%q, %v, want %q, %q", text, err, c.want, c.reason)
			}
			in, errIn := smallfile.ReadIn(root, c.name, 8)
			if c.inside {
				if errIn == nil {
					t.Errorf("in the folder: %q, want an error", in)
				}
			} else if string(in) != c.want || (errIn == nil) != (err == nil) {
				t.Errorf("in the folder: %q, %v, want %q", in, errIn, c.want)
			}
		})
	}
	if _, err := smallfile.Read(at("nothing"), 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
	if _, err := smallfile.ReadIn(root, "../"+filepath.Base(elsewhere)+"/text", 8); err == nil {
		t.Error("a name leads out of the folder")
	}
}

// TestReadUnsized: files of /proc have size 0 but are not empty.
func TestReadUnsized(t *testing.T) {
	const name = "/proc/self/status"
	if _, err := os.Stat(name); err != nil {
		t.Skip("no /proc here")
	}
	if text, err := smallfile.Read(name, 1<<20); err != nil || len(text) == 0 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	var refused *smallfile.Error
	if _, err := smallfile.Read(name, 8); !errors.As(err, &refused) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// endless is an endless stream.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return len(p), nil
}

func TestReadFrom(t *testing.T) {
	if text, err := smallfile.ReadFrom(strings.NewReader("12345678"), "standard input", 8); string(text) != "12345678" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	var refused *smallfile.Error
	stream := &endless{}
	if text, err := smallfile.ReadFrom(stream, "standard input", 1<<20); !errors.As(err, &refused) || text != nil || stream.read > 2<<20 {
		t.Errorf("%d bytes, %v, %d read", len(text), err, stream.read)
	}
}
