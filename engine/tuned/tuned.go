// Package tuned stores the kernel variants that were measured to be fastest on a device,
// in a file of the user's cache directory. The same file gives the same choices, and so
// the same bits.
package tuned

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/shaders"
)

// File has the measurements of one device.
type File struct {
	Backend string  `json:"backend"` // "vulkan": backends compile kernels differently
	Device  string  `json:"device"`  // its name
	Driver  string  `json:"driver"`
	Entries []Entry `json:"entries"` // by kernel and bucket
}

// Entry is the choice for one bucket of a kernel's parameters.
type Entry struct {
	Kernel  string             `json:"kernel"`
	Bucket  string             `json:"bucket"`  // shaders.Kernel.Bucket
	Case    string             `json:"case"`    // that was measured
	Sources string             `json:"sources"` // shaders.Kernel.SourceHash
	Variant string             `json:"variant"` // the choice
	Default string             `json:"default"` // the choice of the device's class
	US      map[string]float64 `json:"us"`      // of every variant that was measured
}

// backend is the part of a device's name before its number.
func backend(info engine.Info) string {
	name, _, _ := strings.Cut(info.Device, ":")
	return name
}

// Path is the path of a device's file, which depends on the backend, the device and the
// driver.
func Path(info engine.Info) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory for tuned kernels: %w; set XDG_CACHE_HOME", err)
	}
	sum := sha256.Sum256([]byte(backend(info) + "\n" + info.Name + "\n" + info.Driver))
	return filepath.Join(dir, "patchwork", "tuned-"+hex.EncodeToString(sum[:8])+".json"), nil
}

// Load reads a device's file and drops stale entries: those of kernels that no longer
// exist or have changed. If there is no file, the result is empty.
func Load(info engine.Info) (*File, error) {
	empty := &File{Backend: backend(info), Device: info.Name, Driver: info.Driver}
	path, err := Path(info)
	if err != nil {
		return empty, err
	}
	data, err := smallfile.Read(path, smallfile.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	f := &File{}
	if err := json.Unmarshal(data, f); err != nil {
		return empty, fmt.Errorf("%s is damaged (%v); vlmtool tune --reset recreates it", path, err)
	}
	if f.Backend != empty.Backend || f.Device != empty.Device || f.Driver != empty.Driver {
		return empty, nil
	}
	hashes := map[string]string{}
	for _, k := range shaders.All() {
		if hashes[k.Name], err = k.SourceHash(); err != nil {
			return empty, err
		}
	}
	f.Entries = slices.DeleteFunc(f.Entries, func(e Entry) bool { return e.Sources != hashes[e.Kernel] || e.Sources == "" })
	return f, nil
}

// Has reports whether a bucket has been measured.
func (f *File) Has(bucket string) bool {
	return slices.ContainsFunc(f.Entries, func(e Entry) bool { return e.Bucket == bucket })
}

// Add adds an entry or replaces the one of its bucket.
func (f *File) Add(e Entry) {
	f.Entries = slices.DeleteFunc(f.Entries, func(o Entry) bool { return o.Bucket == e.Bucket })
	f.Entries = append(f.Entries, e)
	slices.SortFunc(f.Entries, func(a, b Entry) int { return cmp.Compare(a.Bucket, b.Bucket) })
}

// Choices are the entries that differ from the choice of the device's class.
func (f *File) Choices() shaders.Choices {
	choices := shaders.Choices{}
	for _, e := range f.Entries {
		if e.Variant != e.Default {
			choices[e.Bucket] = e.Variant
		}
	}
	return choices
}

// Save replaces the device's file atomically.
func (f *File) Save(info engine.Info) error {
	path, err := Path(info)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "tuned")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(append(data, '\n'))
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// Reset deletes a device's file.
func Reset(info engine.Info) error {
	path, err := Path(info)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
