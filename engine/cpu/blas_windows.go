package cpu

// blasMatmul finds nothing: OpenBLAS has no standard path on Windows.
func blasMatmul() (p matmul, ok bool) { return matmul{}, false }
