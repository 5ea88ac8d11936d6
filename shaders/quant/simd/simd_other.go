//go:build !amd64 && !arm64 && !wasm

package simd

var quantize = quantizeGo

// Sets returns no kernels: there is no assembly for this processor.
func Sets() []Set { return nil }
