//go:build !windows && !js

package cpu

import (
	"unsafe"

	"github.com/ebitengine/purego"

	"patchwork/shaders"
)

// goName is the name of the matmul in plain Go.
const goName = "Go (install libopenblas0 for speed)"

// blasMatmul opens OpenBLAS; ok is false where there is none.
func blasMatmul() (p matmul, ok bool) {
	lib, sgemm, err := openBLAS()
	if err != nil {
		return matmul{}, false
	}
	// One thread a call: the tiling over goroutines is ours, so that results
	// do not depend on how many threads OpenBLAS would take.
	setBLASThreads(lib, 1)
	return matmul{name: blasName(lib), gemm: func(g shaders.Gemm) { callSGEMM(sgemm, g) }, rows: 16, cols: 16, minWork: blockedWork}, true
}

func openBLAS() (lib, sgemm uintptr, err error) {
	for _, name := range blasLibraries {
		if lib, err = purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL); err != nil {
			continue
		}
		if sgemm, err = purego.Dlsym(lib, "sgemm_"); err == nil {
			break
		}
	}
	return lib, sgemm, err
}

func setBLASThreads(lib uintptr, n int) {
	if set, err := purego.Dlsym(lib, "openblas_set_num_threads"); err == nil {
		purego.SyscallN(set, uintptr(n))
	}
}

var blasLibraries = []string{"libopenblas.so.0", "libopenblas.so"}

func blasName(lib uintptr) string {
	config, err := purego.Dlsym(lib, "openblas_get_config")
	if err != nil {
		return "OpenBLAS"
	}
	r, _, _ := purego.SyscallN(config)
	return cString(r)
}

// cString copies a C string that the library owns.
func cString(p uintptr) string {
	var s []byte
	for q := *(*unsafe.Pointer)(unsafe.Pointer(&p)); *(*byte)(q) != 0; q = unsafe.Add(q, 1) {
		s = append(s, *(*byte)(q))
	}
	return string(s)
}

// callSGEMM calls the Fortran interface, whose arguments are all pointers. A row-major
// matmul is the column-major one of the transposes: cᵀ = op(b)ᵀ·op(a)ᵀ.
func callSGEMM(sgemm uintptr, g shaders.Gemm) {
	args := struct {
		transB, transA         byte
		n, m, k, ldb, lda, ldc int32
		alpha, beta            float32
	}{
		blasTrans(g.TransB), blasTrans(g.TransA),
		int32(g.N), int32(g.M), int32(g.K), int32(g.LDB), int32(g.LDA), int32(g.LDC),
		g.Alpha, g.Beta,
	}
	// The conversions must be in the call itself, which keeps what they point to in
	// place.
	purego.SyscallN(sgemm,
		uintptr(unsafe.Pointer(&args.transB)), uintptr(unsafe.Pointer(&args.transA)),
		uintptr(unsafe.Pointer(&args.n)), uintptr(unsafe.Pointer(&args.m)), uintptr(unsafe.Pointer(&args.k)),
		uintptr(unsafe.Pointer(&args.alpha)),
		uintptr(unsafe.Pointer(unsafe.SliceData(g.B))), uintptr(unsafe.Pointer(&args.ldb)),
		uintptr(unsafe.Pointer(unsafe.SliceData(g.A))), uintptr(unsafe.Pointer(&args.lda)),
		uintptr(unsafe.Pointer(&args.beta)),
		uintptr(unsafe.Pointer(unsafe.SliceData(g.C))), uintptr(unsafe.Pointer(&args.ldc)))
}

func blasTrans(t bool) byte {
	if t {
		return 'T'
	}
	return 'N'
}
