//go:build windows || js

package cpu

// goName is the name of the matmul in plain Go.
const goName = "Go"

// blasMatmul finds nothing: OpenBLAS has no standard path on Windows, and a browser loads no libraries.
func blasMatmul() (p matmul, ok bool) { return matmul{}, false }
