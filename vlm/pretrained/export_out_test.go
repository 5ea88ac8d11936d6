package pretrained_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/folderlock"
	"patchwork/internal/require"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// writeNames returns a function that writes files with these names.
func writeNames(names ...string) func(dir string) error {
	return func(dir string) (err error) {
		for _, n := range names {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, n), []byte("new"), 0o644))
		}
		return err
	}
}

// TestExportOut: whatever the output folder holds and however an export ends, the folder has a
// complete model or none, files of the user are kept, and the next export removes leftovers of a
// killed one.
func TestExportOut(t *testing.T) {
	full := errors.New("no space left")
	write := writeNames("config.json", "tokenizer.json", pretrained.WeightsFile)
	for _, c := range []struct {
		name   string
		before []string // files of the folder; nil: it does not exist
		locked bool
		write  func(dir string) error
		after  []string // nil: it does not exist
		err    error
	}{
		{"no folder", nil, false, write, []string{"config.json", pretrained.WeightsFile, "tokenizer.json"}, nil},
		{"an empty folder", []string{}, false, write, []string{"config.json", pretrained.WeightsFile, "tokenizer.json"}, nil},
		{"a full disk", nil, false, func(dir string) error { return errors.Join(write(dir), full) }, nil, full},
		{"a full disk, in a folder", []string{}, false, func(dir string) error { return errors.Join(write(dir), full) }, []string{}, full},
		{"killed while writing", []string{".lock", ".export/config.json", ".export/model.safetensors"}, false, write, []string{"config.json", pretrained.WeightsFile, "tokenizer.json"}, nil},
		{"killed while renaming", []string{".lock", "config.json", "chat_template.jinja", ".export/model.safetensors"}, false, write, []string{"config.json", pretrained.WeightsFile, "tokenizer.json"}, nil},
		{"killed, then a full disk", []string{".lock", "config.json", ".export/model.safetensors"}, false, func(string) error { return full }, []string{}, full},
		{"killed after the renaming", []string{"config.json", "model.safetensors", ".export/"}, false, write, []string{".export", "config.json", pretrained.WeightsFile}, pretrained.ErrNotEmpty},
		{"killed, with a file of the user", []string{".export/config.json", "notes.txt"}, false, write, []string{".export", ".export/config.json", "notes.txt"}, pretrained.ErrNotEmpty},
		{"a model", []string{"config.json", "model.safetensors"}, false, write, []string{"config.json", pretrained.WeightsFile}, pretrained.ErrNotEmpty},
		{"a configuration alone", []string{"config.json"}, false, write, []string{"config.json"}, pretrained.ErrNotEmpty},
		{"locked by another export", []string{".export/config.json"}, true, write, []string{".export", ".export/config.json", ".lock"}, folderlock.ErrBusy},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			if c.before != nil {
				require.NoError(t, os.Mkdir(out, 0o755))
			}
			for _, name := range c.before {
				path := filepath.Join(out, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				if name[len(name)-1] == '/' {
					require.NoError(t, os.MkdirAll(path, 0o755))
					continue
				}
				require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
			}
			if c.locked {
				lock, err := folderlock.Take(out)
				require.NoError(t, err)
				defer lock.Release()
			}
			if err := pretrained.CheckOut(out); errors.Is(c.err, pretrained.ErrNotEmpty) != errors.Is(err, pretrained.ErrNotEmpty) {
				t.Errorf("CheckOut: %v", err)
			}
			if err := pretrained.WriteExport(out, c.write); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			got := below(t, out)
			if !slices.Equal(got, c.after) {
				t.Errorf("the folder holds %q, want %q", got, c.after)
			}
			if c.err == nil {
				for _, name := range got {
					if text, _ := os.ReadFile(filepath.Join(out, name)); string(text) != "new" {
						t.Errorf("%s is %q", name, text)
					}
				}
			}
		})
	}
}

// below returns the paths in a folder in order, or nil if it does not exist.
func below(t *testing.T, dir string) []string {
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	names := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir && err == nil {
			names = append(names, path[len(dir)+1:])
		}
		return err
	}))
	return names
}

// TestExportCancelled: a cancelled export leaves nothing.
func TestExportCancelled(t *testing.T) {
	d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
	path, out := d.GGUF(t, nil, nil), filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pretrained.Export(ctx, pretrained.ExportOptions{Model: path, Out: out, DType: "f32"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Errorf("it left %q", below(t, out))
	}
	_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: path, Out: out, DType: "f32"})
	require.NoError(t, err)
	l, err := pretrained.Load(out, cpu.Open(0))
	require.NoError(t, err)
	l.Close()
	if slices.ContainsFunc(below(t, out), func(name string) bool { return name == pretrained.ExportTemp || name == folderlock.Name }) {
		t.Errorf("it left %q", below(t, out))
	}
}
