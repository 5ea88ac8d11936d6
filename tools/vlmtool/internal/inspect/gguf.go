package inspect

import (
	"fmt"
	"reflect"
	"strings"

	"patchwork/nn/gguf"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
)

// ggufResult is the last line of JSON for a GGUF file.
type ggufResult struct {
	File       string         `json:"file"`
	Version    int            `json:"gguf_version"`
	Metadata   map[string]any `json:"metadata"`
	Tensors    int            `json:"tensors"`
	Parameters int64          `json:"parameters"`
	Types      map[string]int `json:"types"` // number of tensors by type
}

// inspectGGUF lists metadata and tensors; with --json one tensor per line, then the rest.
func inspectGGUF(a *cli.App, path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := ggufResult{File: path, Version: f.Version, Metadata: map[string]any{}, Tensors: len(f.Tensors), Types: map[string]int{}}
	for _, key := range f.Metadata.Keys() {
		r.Metadata[key] = brief(f.Metadata.Value(key))
		if !a.JSON {
			fmt.Fprintf(a.Stdout, "%-40s %s\n", terminal.Printable(key), terminal.Printable(oneLine(r.Metadata[key])))
		}
	}
	for _, t := range f.Tensors {
		r.Parameters += int64(t.Size())
		r.Types[t.Type.String()]++
		if !a.JSON {
			fmt.Fprintf(a.Stdout, "%-40s %-6s %v\n", terminal.Printable(t.Name), t.Type, t.Shape)
			continue
		}
		if err := a.Result(map[string]any{"name": t.Name, "dtype": t.Type.String(), "shape": t.Shape}); err != nil {
			return err
		}
	}
	if a.JSON {
		return a.Result(r)
	}
	fmt.Fprintf(a.Stdout, "GGUF version %d, %d tensors, %s parameters\n", r.Version, r.Tensors, terminal.Thousands(r.Parameters))
	return nil
}

// maxElements is the length of the longest array that is printed.
const maxElements = 16

// brief is a metadata value; a long array is replaced by its length.
func brief(v any) any {
	if x := reflect.ValueOf(v); x.Kind() == reflect.Slice && x.Len() > maxElements {
		return map[string]int{"elements": x.Len()}
	}
	if bytes, ok := v.([]uint8); ok { // not as base64
		numbers := make([]int, len(bytes))
		for i, b := range bytes {
			numbers[i] = int(b)
		}
		return numbers
	}
	return v
}

func oneLine(v any) string {
	if n, ok := v.(map[string]int); ok {
		return fmt.Sprintf("%d elements", n["elements"])
	}
	const maxRunes = 100
	text := []rune(strings.ReplaceAll(fmt.Sprint(v), "\n", `\n`))
	if len(text) > maxRunes {
		return string(text[:maxRunes]) + "…"
	}
	return string(text)
}
