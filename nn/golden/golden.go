// Package golden finds and compares the golden vectors in tests. They lie in the
// project's testdata/golden, or where PATCHWORK_GOLDEN says, in the same layout;
// families that the committed set leaves out are looked for in ../shared/golden
// beside the project.
package golden

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the project's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Dirs are the golden folders that hold a family ("ops", "tiny_llama"): the one
// of PATCHWORK_GOLDEN alone when it is set, else the committed one and the one
// beside the project. The test is skipped when there is none.
func Dirs(t testing.TB, family string) []string {
	t.Helper()
	var dirs []string
	for _, root := range roots() {
		dir := filepath.Join(root, family)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		t.Skipf("no golden vectors %q in %v", family, roots())
	}
	return dirs
}

func roots() []string {
	if dir := os.Getenv("PATCHWORK_GOLDEN"); dir != "" {
		return []string{dir}
	}
	return []string{filepath.Join(Root(), "testdata", "golden"), filepath.Join(Root(), "..", "shared", "golden")}
}

// JSON reads a JSON file into v.
func JSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Tolerance bounds |got-want| by Atol + Rtol·|want|.
type Tolerance struct{ Atol, Rtol float64 }

// Compare reports the element that is furthest outside the tolerance.
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
