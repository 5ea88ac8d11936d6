package cpu

// blasProduct finds nothing: OpenBLAS has no usual place on Windows.
func blasProduct() (p product, ok bool) { return product{}, false }
