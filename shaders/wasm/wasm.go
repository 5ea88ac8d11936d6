// Package wasm has the inner loops for a program that Go compiled to WebAssembly: tools/wasmgen writes
// them as a module with SIMD.
package wasm

import _ "embed"

// Loader is a script that a page loads before it starts such a program; the script's first comment says
// how. A program that imports shaders/simd cannot be instantiated without it.
//
//go:embed simd.js
var Loader []byte
