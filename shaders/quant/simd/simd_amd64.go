package simd

var quantize = quantizeGo

// Sets returns the kernels that this processor supports, the best first; none where there is
// no assembly for it.
func Sets() []Set { return nil }
