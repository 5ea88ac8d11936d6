package simd

import "golang.org/x/sys/cpu"

// fmaKernels are the kernels that the processor supports, the widest first.
var fmaKernels = func() (kernels []fmaKernel) {
	if hasAVX2 && cpu.X86.HasAVX512F {
		kernels = append(kernels, fmaKernel{12 * 16, fmaAVX512})
	}
	if hasAVX2 {
		kernels = append(kernels, fmaKernel{12 * 8, fmaAVX2})
	}
	return kernels
}()
