//go:build unix

package durable_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"patchwork/internal/durable"
	"patchwork/internal/require"
)

func TestReplace(t *testing.T) {
	old, fresh := []byte("old"), []byte("new")
	for _, c := range []struct {
		name    string
		prepare func(path, elsewhere string) error
		fails   bool
	}{
		{"new", func(string, string) error { return nil }, false},
		{"replaced", func(path, _ string) error { return os.WriteFile(path, old, 0o644) }, false},
		{"leftover temporary file", func(path, _ string) error { return os.WriteFile(path+durable.TempSuffix, make([]byte, 100), 0o644) }, false},
		{"the temporary file is a link", func(path, elsewhere string) error { return os.Symlink(elsewhere, path+durable.TempSuffix) }, false},
		{"a folder", func(path, _ string) error { return os.Mkdir(path, 0o755) }, true},
		{"the temporary file is a folder", func(path, _ string) error {
			return os.MkdirAll(filepath.Join(path+durable.TempSuffix, "full"), 0o755)
		}, true},
		{"no folder", func(path, _ string) error { return os.Remove(filepath.Dir(path)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			elsewhere := filepath.Join(root, "elsewhere")
			require.NoError(t, os.WriteFile(elsewhere, old, 0o644))
			dir := filepath.Join(root, "dir")
			require.NoError(t, os.Mkdir(dir, 0o755))
			path := filepath.Join(dir, "file")
			require.NoError(t, c.prepare(path, elsewhere))
			err := durable.Replace(path, fresh)
			if (err != nil) != c.fails {
				t.Fatalf("got %v", err)
			}
			if got, _ := os.ReadFile(path); !c.fails && !bytes.Equal(got, fresh) {
				t.Errorf("the file holds %q", got)
			}
			if got, _ := os.ReadFile(elsewhere); !bytes.Equal(got, old) {
				t.Errorf("another file holds %q", got)
			}
			if left, _ := os.ReadDir(dir); !c.fails && len(left) != 1 {
				t.Errorf("%d files, want 1", len(left))
			}
		})
	}
}

// TestFile: the path has the old content until Commit, and keeps it after Discard.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	for _, c := range []struct {
		end  func(*durable.File) error
		want string
	}{{(*durable.File).Discard, "old"}, {(*durable.File).Commit, "new"}} {
		f, err := durable.Create(path)
		require.NoError(t, err)
		_, err = f.Write([]byte("new"))
		require.NoError(t, err)
		if got, _ := os.ReadFile(path); string(got) != "old" {
			t.Errorf("while it is written the file holds %q", got)
		}
		require.NoError(t, c.end(f))
		got, _ := os.ReadFile(path)
		if left, _ := os.ReadDir(filepath.Dir(path)); string(got) != c.want || len(left) != 1 {
			t.Errorf("the file holds %q, want %q; %d files", got, c.want, len(left))
		}
	}
}

// TestWriteFails: a failed write keeps the old content.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, durable.Replace(path, []byte("old")))
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	small := limit
	small.Cur = 1000
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	err := durable.Replace(path, make([]byte, 5000))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	got, _ := os.ReadFile(path)
	if left, _ := os.ReadDir(filepath.Dir(path)); err == nil || string(got) != "old" || len(left) != 1 {
		t.Errorf("%v: the file holds %.10q, %d files", err, got, len(left))
	}
}

// TestWriteThrough: links are kept, and pipes are written to.
func TestWriteThrough(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o644))
	require.NoError(t, os.Symlink("file", link))
	require.NoError(t, durable.Replace(link, []byte("new")))
	if got, _ := os.ReadFile(file); string(got) != "new" {
		t.Errorf("the link's file holds %q", got)
	}
	require.NoError(t, syscall.Mkfifo(pipe, 0o644))
	read := make(chan []byte)
	go func() {
		got, _ := os.ReadFile(pipe)
		read <- got
	}()
	require.NoError(t, durable.Replace(pipe, []byte("new")))
	if got := <-read; string(got) != "new" {
		t.Errorf("the pipe gave %q", got)
	}
}
