//go:build !amd64 && !arm64 && !wasm

package simd

import "patchwork/shaders/half"

func packWhole(half.Format, []uint16, []float32) int   { return 0 }
func unpackWhole(half.Format, []float32, []uint16) int { return 0 }

// NarrowDots returns no kernels: there is no assembly for this processor.
func NarrowDots(half.Format) []NarrowDotsKernel { return nil }
