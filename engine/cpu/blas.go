package cpu

import (
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"patchwork/shaders"
)

// loadBLAS opens OpenBLAS once; where there is none the Go kernel takes over.
var loadBLAS = sync.OnceValues(func() (func(shaders.Gemm), string) {
	for _, name := range blasLibraries {
		lib, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			continue
		}
		sgemm, err := purego.Dlsym(lib, "sgemm_")
		if err != nil {
			continue
		}
		// One thread a call: the tiling over goroutines is ours, so that results
		// do not depend on how many threads OpenBLAS would take.
		if set, err := purego.Dlsym(lib, "openblas_set_num_threads"); err == nil {
			purego.SyscallN(set, 1)
		}
		return func(g shaders.Gemm) { callSGEMM(sgemm, g) }, blasName(lib)
	}
	return goGemm, "Go (install libopenblas0 for speed)"
})

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

// callSGEMM calls the Fortran interface, whose arguments are all pointers. A
// row-major product is the column-major one of the transposes: cᵀ = op(b)ᵀ·op(a)ᵀ.
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
	// The conversions stand in the call itself: that keeps what they point to in place.
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

// goGemm is the product in plain Go: rows of c in registers' reach, four rows
// of b at a time.
func goGemm(g shaders.Gemm) {
	for i := range g.M {
		row := g.C[i*g.LDC:][:g.N]
		switch g.Beta {
		case 1:
		case 0:
			clear(row)
		default:
			for j := range row {
				row[j] *= g.Beta
			}
		}
		if g.TransB {
			goRowTransB(g, i, row)
		} else {
			goRow(g, i, row)
		}
	}
}

func (g gemmRow) at(k int) float32 {
	if g.TransA {
		return g.Alpha * g.A[k*g.LDA+g.i]
	}
	return g.Alpha * g.A[g.i*g.LDA+k]
}

type gemmRow struct {
	shaders.Gemm
	i int
}

func goRow(g shaders.Gemm, i int, row []float32) {
	a := gemmRow{g, i}
	k := 0
	for ; k+4 <= g.K; k += 4 {
		a0, a1, a2, a3 := a.at(k), a.at(k+1), a.at(k+2), a.at(k+3)
		b0, b1 := g.B[k*g.LDB:][:len(row)], g.B[(k+1)*g.LDB:][:len(row)]
		b2, b3 := g.B[(k+2)*g.LDB:][:len(row)], g.B[(k+3)*g.LDB:][:len(row)]
		for j := range row {
			row[j] += a0*b0[j] + a1*b1[j] + a2*b2[j] + a3*b3[j]
		}
	}
	for ; k < g.K; k++ {
		ak, b := a.at(k), g.B[k*g.LDB:][:len(row)]
		for j := range row {
			row[j] += ak * b[j]
		}
	}
}

func goRowTransB(g shaders.Gemm, i int, row []float32) {
	a := gemmRow{g, i}
	for j := range row {
		b := g.B[j*g.LDB:][:g.K]
		var s0, s1, s2, s3 float32
		k := 0
		for ; k+4 <= len(b); k += 4 {
			s0 += a.at(k) * b[k]
			s1 += a.at(k+1) * b[k+1]
			s2 += a.at(k+2) * b[k+2]
			s3 += a.at(k+3) * b[k+3]
		}
		for ; k < len(b); k++ {
			s0 += a.at(k) * b[k]
		}
		row[j] += (s0 + s1) + (s2 + s3)
	}
}
