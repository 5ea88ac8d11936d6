// Command wasmgen writes the inner loops for WebAssembly, which Go's compiler has no vector instructions
// for, as a module of their own with SIMD:
//
//	go run ./tools/wasmgen
//
// It writes shaders/wasm/simd.js, which has the module and connects a Go program to it, and the
// declarations of the functions in Go. docs/decisions/0073-simd-for-wasm.md says why.
package main

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"patchwork/tools/wasmgen/wasm"
)

const command = "go run ./tools/wasmgen"

//go:embed simd.js.tmpl
var loader string

func main() {
	for name, text := range generate() {
		if err := os.WriteFile(filepath.FromSlash(name), text, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "wasmgen:", err)
			os.Exit(1)
		}
	}
}

// define returns the module with all functions. The first is what the Go code asks whether there are any.
func define(relaxed bool) *wasm.Module {
	m, level := &wasm.Module{Relaxed: relaxed}, 1
	if relaxed {
		level = 2
	}
	m.Function("available", "func() int32", "available is 0 where the functions below may not be called, 1, or 2 with relaxed SIMD.").Return(wasm.Int(level))
	defineGemm(m)
	defineDots(m)
	defineTranspose(m)
	defineVector(m)
	defineQuantDots(m)
	defineQuantDecode(m)
	return m
}

// generate returns the text of every file by its name.
func generate() map[string][]byte {
	m := define(false)
	encode := func(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
	js := strings.NewReplacer("{{command}}", command, "{{links}}", encode(m.Links()), "{{kernels}}", encode(m.Kernels()), "{{relaxed}}", encode(define(true).Kernels())).Replace(loader)
	// Only names of block formats have a capital Q.
	quantised := func(name string) bool { return strings.Contains(name, "Q") }
	return map[string][]byte{
		"shaders/wasm/simd.js":               []byte(js),
		"shaders/simd/kernels_wasm.go":       m.Stubs(command, "simd", func(name string) bool { return !quantised(name) }),
		"shaders/simd/vector_wasm.go":        adapters(),
		"shaders/quant/simd/kernels_wasm.go": m.Stubs(command, "simd", func(name string) bool { return quantised(name) || name == "available" }),
	}
}
