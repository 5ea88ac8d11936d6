package main

import (
	"fmt"
	"reflect"
	"strings"

	"patchwork/nn/gguf"
)

// ggufResult is the last line of JSON about a GGUF file.
type ggufResult struct {
	File       string         `json:"file"`
	Version    int            `json:"gguf_version"`
	Metadata   map[string]any `json:"metadata"`
	Tensors    int            `json:"tensors"`
	Parameters int64          `json:"parameters"`
	Types      map[string]int `json:"types"` // tensors of each
}

// inspectGGUF lists metadata and tensors; with JSON one tensor a line, and the rest
// last.
func (a *app) inspectGGUF(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := ggufResult{File: path, Version: f.Version, Metadata: map[string]any{}, Tensors: len(f.Tensors), Types: map[string]int{}}
	for _, key := range f.Metadata.Keys() {
		r.Metadata[key] = brief(f.Metadata.Value(key))
		if !a.json {
			fmt.Fprintf(a.stdout, "%-40s %s\n", printable(key), printable(oneLineOf(r.Metadata[key])))
		}
	}
	for _, t := range f.Tensors {
		r.Parameters += int64(t.Size())
		r.Types[t.Type.String()]++
		if !a.json {
			fmt.Fprintf(a.stdout, "%-40s %-6s %v\n", printable(t.Name), t.Type, t.Shape)
			continue
		}
		if err := a.result(map[string]any{"name": t.Name, "dtype": t.Type.String(), "shape": t.Shape}); err != nil {
			return err
		}
	}
	if a.json {
		return a.result(r)
	}
	fmt.Fprintf(a.stdout, "GGUF version %d, %d tensors, %s parameters\n", r.Version, r.Tensors, thousands(r.Parameters))
	return nil
}

// longest is the longest array that is shown whole.
const longest = 16

// brief is a metadata value, long arrays by their length.
func brief(v any) any {
	if x := reflect.ValueOf(v); x.Kind() == reflect.Slice && x.Len() > longest {
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

func oneLineOf(v any) string {
	if n, ok := v.(map[string]int); ok {
		return fmt.Sprintf("%d elements", n["elements"])
	}
	const room = 100
	text := []rune(strings.ReplaceAll(fmt.Sprint(v), "\n", `\n`))
	if len(text) > room {
		return string(text[:room]) + "…"
	}
	return string(text)
}
