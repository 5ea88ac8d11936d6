// Package golden finds the golden vectors of tests and compares results with them.
//
// They are in the project's testdata/golden; those too large to commit may be in
// ../shared/golden beside the project. PATCHWORK_GOLDEN names another directory of the
// same layout, which is then used alone. Tokenizers are in models/ beside a golden
// directory. CONTRIBUTING.md describes the families.
package golden

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Root returns the root folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// roots are the golden directories, whether they exist or not.
func roots() []string {
	if dir := os.Getenv("PATCHWORK_GOLDEN"); dir != "" {
		return []string{filepath.Clean(dir)}
	}
	return []string{filepath.Join(Root(), "testdata", "golden"), filepath.Join(Root(), "..", "shared", "golden")}
}

// Dirs returns every directory of a family, such as "ops". The test is skipped if there is none.
func Dirs(t testing.TB, family string) []string {
	t.Helper()
	var dirs []string
	for _, root := range roots() {
		if dir := filepath.Join(root, family); isDir(dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		t.Skipf("no golden vectors %q in %v; PATCHWORK_GOLDEN can name a directory that has them", family, roots())
	}
	return dirs
}

// Dir returns the first directory of a family.
func Dir(t testing.TB, family string) string {
	t.Helper()
	return Dirs(t, family)[0]
}

// Members lists the subdirectories of a family's directories, such as the tokenizers. The test is
// skipped if there are none.
func Members(t testing.TB, family string) []string {
	t.Helper()
	var names []string
	for _, dir := range Dirs(t, family) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// Model returns the directory of a model's tokenizer. The test is skipped without it.
func Model(t testing.TB, name string) string {
	t.Helper()
	return Dir(t, filepath.Join("..", "models", name))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// JSON reads a JSON file into v.
func JSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Lines reads a file with one JSON value on each line.
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

// Tolerance bounds |got-want| by Atol + Rtol·|want|.
type Tolerance struct{ Atol, Rtol float64 }

// Compare reports an error for the element that is furthest outside the tolerance.
func Compare(t testing.TB, what string, got, want []float32, tol Tolerance) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	worst, excess := -1, 0.0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		over := d - tol.Atol - tol.Rtol*math.Abs(float64(want[i]))
		if over > excess || math.IsNaN(d) {
			worst, excess = i, over
			if math.IsNaN(d) {
				break
			}
		}
	}
	if worst >= 0 {
		t.Errorf("%s[%d] = %g, want %g: off by %.3g, allowed %.3g", what, worst, got[worst], want[worst],
			math.Abs(float64(got[worst])-float64(want[worst])), tol.Atol+tol.Rtol*math.Abs(float64(want[worst])))
	}
}
