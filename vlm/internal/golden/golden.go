// Package golden finds the golden files that tests compare with.
//
// PATCHWORK_GOLDEN names a directory laid out as testdata/golden. Without it the
// committed set is used, and ../shared/golden beside the repository for what is
// too big to commit. Models lie in models/ beside the golden directory.
package golden

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// place is a golden directory and the models beside it.
type place struct{ golden, models string }

// Dir returns the directory of a family, such as "packing", and skips the test
// where there is none.
func Dir(t testing.TB, family string) string {
	t.Helper()
	return find(t, family, func(p place) string { return filepath.Join(p.golden, family) })
}

// Model returns the directory of a model's tokenizer, and skips the test where
// there is none.
func Model(t testing.TB, name string) string {
	t.Helper()
	return find(t, "model "+name, func(p place) string { return filepath.Join(p.models, name) })
}

// Members lists the directories in a family's over all places, such as the
// tokenizers there are.
func Members(t testing.TB, family string) []string {
	t.Helper()
	var names []string
	for _, p := range places() {
		entries, _ := os.ReadDir(filepath.Join(p.golden, family)) // an absent place has none
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) == 0 {
		t.Skipf("no golden files of %s in %v", family, places())
	}
	return names
}

// Lines reads a file of one JSON value a line.
func Lines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s: line %d: %v", path, len(out)+1, err)
		}
		out = append(out, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return out
}

func find(t testing.TB, what string, in func(place) string) string {
	t.Helper()
	for _, p := range places() {
		if dir := in(p); isDir(dir) {
			return dir
		}
	}
	t.Skipf("no %s in %v; PATCHWORK_GOLDEN can name a golden directory that has it", what, places())
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func places() []place {
	if dir := os.Getenv("PATCHWORK_GOLDEN"); dir != "" {
		return []place{placeOf(dir)}
	}
	_, here, _, _ := runtime.Caller(0)
	repo := filepath.Join(filepath.Dir(here), "..", "..", "..")
	return []place{
		placeOf(filepath.Join(repo, "testdata", "golden")),
		placeOf(filepath.Join(repo, "..", "shared", "golden")),
	}
}

func placeOf(golden string) place {
	golden = filepath.Clean(golden)
	return place{golden, filepath.Join(filepath.Dir(golden), "models")}
}
