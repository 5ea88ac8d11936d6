package shaders

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the top-level folders, lowest first: a package imports from its own
// layer and from those below.
var layers = []string{"internal", "shaders", "engine", "nn", "vlm", "tools"}

// TestImportsPointDown: tools → vlm → nn → engine → shaders.
func TestImportsPointDown(t *testing.T) {
	seen := map[string]int{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		layer := slices.Index(layers, strings.Split(path, "/")[0])
		if layer < 0 {
			return nil
		}
		seen[layers[layer]]++
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			inside, ours := strings.CutPrefix(name, "patchwork/")
			if ours && slices.Index(layers, strings.Split(inside, "/")[0]) > layer {
				t.Errorf("%s imports %s, which lies above it", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if seen[l] == 0 {
			t.Errorf("no Go file seen under %s", l)
		}
	}
}
