package shaders

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
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

// testSupport are the packages under internal that only tests may import, each with the
// highest layer that it may import itself.
var testSupport = map[string]string{
	"internal/golden": "internal", "internal/gguftest": "nn", "internal/gemmatest": "vlm", "internal/bombs": "vlm", "internal/require": "internal", "vlm/internal/vlmtest": "vlm",
	"tools/internal/browsertest": "tools",
}

// vlmImports are the packages of vlm that each of its packages may import.
var vlmImports = map[string][]string{
	"vlm/chat/jinja": {}, "vlm/hub/blockcache": {}, "vlm/image/simd": {}, "vlm/score": {}, "vlm/tokenizer": {}, "vlm/grammar": {}, "vlm/audio": {},
	"vlm/chat":      {"vlm/chat/jinja", "vlm/tokenizer"},
	"vlm/hub":       {"vlm/hub/blockcache"},
	"vlm/image/vp8": {"vlm/image/simd"},
	"vlm/image":     {"vlm/image/simd", "vlm/image/vp8"},
	"vlm/packing":   {"vlm/chat"},
	"vlm/data":      {"vlm/audio", "vlm/image", "vlm/packing"},
	"vlm/importer":  {"vlm/data", "vlm/image"},

	"vlm":            {"vlm/chat", "vlm/image", "vlm/packing", "vlm/tokenizer"},
	"vlm/pretrained": {"vlm", "vlm/chat", "vlm/packing", "vlm/tokenizer"},
	"vlm/checkpoint": {"vlm", "vlm/pretrained", "vlm/tokenizer"},
	"vlm/generate":   {"vlm", "vlm/chat", "vlm/packing", "vlm/tokenizer"},
	"vlm/serve":      {"vlm", "vlm/chat", "vlm/generate", "vlm/tokenizer"},
	"vlm/eval":       {"vlm", "vlm/generate", "vlm/chat", "vlm/data", "vlm/packing", "vlm/score"},
	"vlm/loader":     {"vlm", "vlm/chat", "vlm/data", "vlm/packing"},
	"vlm/train":      {"vlm", "vlm/pretrained", "vlm/checkpoint", "vlm/generate", "vlm/chat", "vlm/data", "vlm/image", "vlm/loader", "vlm/packing"},
}

// TestImportsPointDown: tools → vlm → nn → engine → shaders → internal. Test support is
// imported by no package but other test support.
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
		dir := filepath.ToSlash(filepath.Dir(path))
		seen[dir]++
		highest, support := testSupport[dir]
		if support {
			layer = slices.Index(layers, highest)
		}
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
				t.Errorf("%s imports %s, which is above it", path, name)
			}
			if allowed, listed := vlmImports[dir]; strings.HasPrefix(inside, "vlm") && !support && strings.HasPrefix(dir, "vlm") && !(listed && slices.Contains(allowed, inside)) {
				t.Errorf("%s imports %s, which vlmImports does not list", path, name)
			}
			if _, forTests := testSupport[inside]; ours && forTests && !support {
				t.Errorf("%s imports %s, which only tests may import", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Concat(layers, slices.Collect(maps.Keys(testSupport)), slices.Collect(maps.Keys(vlmImports))) {
		if seen[dir] == 0 {
			t.Errorf("no Go file found under %s", dir)
		}
	}
}
