// Command simdgen writes the assembly of a package of inner loops, by avo for amd64 and by its own
// package arm64 for NEON:
//
//	go run ./tools/simdgen shaders/simd
//	go run ./tools/simdgen shaders/quant/simd
//	go run ./tools/simdgen vlm/image/simd
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// packages are the files of each package and what defines them.
var packages = map[string]map[string]func(*build.Context){
	"shaders/simd": {
		"gemm_avx2": func(c *build.Context) { defineGemm(c, avx2) }, "gemm_avx512": func(c *build.Context) { defineGemm(c, avx512) },
		"dots_avx2": func(c *build.Context) { defineDots(c, avx2) }, "dots_avx512": func(c *build.Context) { defineDots(c, avx512) },
		"gemm_bf16": defineGemmBF16, "gemm_amx": defineGemmAMX, "narrow": defineNarrow, "vector": defineVector, "transpose": defineTranspose, "copy": defineCopy, "pause": definePause, "peak": definePeak,
	},
	"shaders/quant/simd": {
		"dots_avx2": func(c *build.Context) { defineQuantDots(c, avx2) }, "dots_vnni": func(c *build.Context) { defineQuantDots(c, avx512) }, "panel": definePanel, "quantize": defineQuantize, "decode": defineQuantDecode,
	},
	"vlm/image/simd": {"idct": defineIDCT, "upsample": defineUpsample, "webp": defineWebPUpsample, "colour": defineColour, "resize": defineResize, "unfilter": defineUnfilter, "vp8": defineVP8},
}

func main() {
	if len(os.Args) != 2 || packages[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: simdgen shaders/simd, shaders/quant/simd or vlm/image/simd")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "simdgen:", err)
		os.Exit(1)
	}
}

// write generates every file into dir.
func write(dir string) error {
	files, err := generate(dir)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the text of every file of a package by its name.
func generate(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, define := range packages[dir] {
		c := build.NewContext()
		define(c)
		file, err := c.Result()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := pass.Compile.Execute(file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		config := printer.Config{Argv: []string{"go", "run", "./tools/simdgen", dir}, Pkg: "simd"}
		if files[name+"_amd64.s"], err = printer.NewGoAsm(config).Print(file); err != nil {
			return nil, err
		}
		if files[name+"_stub_amd64.go"], err = printer.NewStubs(config).Print(file); err != nil {
			return nil, err
		}
	}
	generateNeon(dir, files)
	return files, nil
}
