package main

import "patchwork/tools/simdgen/arm64"

// neonFiles are the arm64 files of each package and what defines them.
var neonFiles = map[string]map[string]func(*arm64.File){
	"shaders/simd": {
		"gemm_neon": defineNeonGemm, "dots_neon": defineNeonDots, "vector_neon": defineNeonVector, "narrow_neon": defineNeonNarrow, "copy_neon": defineNeonCopy,
	},
	"shaders/quant/simd": {
		"dots_neon":    func(f *arm64.File) { defineNeonQuantDots(f, "NEON") },
		"dots_dotprod": func(f *arm64.File) { defineNeonQuantDots(f, "DotProd") },
		"decode_neon":  defineNeonQuantDecode,
	},
}

// generateNeon adds the arm64 files of a package.
func generateNeon(dir string, files map[string][]byte) {
	for name, define := range neonFiles[dir] {
		f := &arm64.File{Command: "go run ./tools/simdgen " + dir, Package: "simd"}
		define(f)
		files[name+"_arm64.s"], files[name+"_stub_arm64.go"] = f.Assembly(), f.Stubs()
	}
}

// bytesOf loads a parameter counted in elements of 1<<shift bytes, as bytes.
func bytesOf(f *arm64.Function, name string, shift int) arm64.R {
	r := f.Param(name)
	f.Op("LSL $%d, %s, %s", shift, r, r)
	return r
}
