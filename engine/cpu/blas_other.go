//go:build windows || js

package cpu

// blasMatmul finds nothing: OpenBLAS has no standard path on Windows, and a browser loads no libraries.
func blasMatmul() (p matmul, ok bool) { return matmul{}, false }
