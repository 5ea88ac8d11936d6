package goforms

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"testing"
)

const dir = "../../../shaders"

// TestLoad type-checks the package with all mutants, and checks for some of them.
func TestLoad(t *testing.T) {
	files, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]string{}
	var mutants []Mutant
	for _, f := range files {
		planted[f.Name] = f.Text
		mutants = append(mutants, f.Mutants...)
	}
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*ast.File
	for _, path := range append(paths, "planted_error.go") {
		name := filepath.Base(path)
		if _, ok := planted[name]; !ok {
			if part, err := partOf(dir, name); err != nil {
				t.Fatal(err)
			} else if !part {
				continue
			}
		}
		var text any
		if p, ok := planted[name]; ok {
			text = p
		}
		f, err := parser.ParseFile(set, path, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	config := types.Config{Importer: importer.ForCompiler(set, "source", nil)}
	if _, err := config.Check("patchwork/shaders", set, all, nil); err != nil {
		t.Error(err)
	}
	for i, m := range mutants {
		if m.Number != i+1 || len(m.Kernels) == 0 {
			t.Fatalf("mutant %d: %+v", i+1, m)
		}
	}
	for _, want := range []struct{ key, kernel string }{
		{"cpu.go :: v += y[i] :: v += y[i] → v -= y[i]", "sum"},
		{"gelu.go :: x, y := b.F32(0), b.F32(1) :: 0 → 0 + 1", "gelu"},
	} {
		if !slices.ContainsFunc(mutants, func(m Mutant) bool { return m.Key == want.key && slices.Contains(m.Kernels, want.kernel) }) {
			t.Errorf("no mutant %q that %s runs", want.key, want.kernel)
		}
	}
}
