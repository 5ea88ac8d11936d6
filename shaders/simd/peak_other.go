//go:build !amd64

package simd

var fmaKernels []fmaKernel
