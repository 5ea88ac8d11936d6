package cpu

// blasMatmul finds nothing: OpenBLAS has no usual place on Windows.
func blasMatmul() (p matmul, ok bool) { return matmul{}, false }
