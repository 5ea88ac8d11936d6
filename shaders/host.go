package shaders

import (
	"unsafe"

	"patchwork/shaders/quant"
)

// Host is what a CPU form may use: cores, matmul and scratch memory.
type Host interface {
	// Parallel calls f over [0,n) in chunks of at least grain, on all cores. The chunks
	// depend only on n and grain, so that results do not depend on the number of cores.
	Parallel(n, grain int, f func(lo, hi int))

	// Gemm computes c = op(a)·op(b) + beta·c on all cores, row-major with the
	// given leading dimensions: op(a) [m,k], op(b) [k,n], c [m,n].
	Gemm(g Gemm)

	// GemmSerial is Gemm on the calling goroutine alone, for use inside Parallel.
	GemmSerial(g Gemm)

	// GemmBF16 is Gemm of bf16 matrices with sums in float32. It needs HasBF16.
	GemmBF16(g GemmBF16)

	// HasBF16 reports whether GemmBF16 is supported.
	HasBF16() bool

	// GemmQuant computes c = a·op(b) + beta·c for a quantised b on all cores. Without
	// FullPrecision it may round a to 8 bits, with a scale for every 32 values of a row, or a and b
	// to bf16.
	GemmQuant(g GemmQuant)

	// Step is the step block of this replay.
	Step() []uint32

	// Scratch returns working memory of n floats, of unknown contents, owned by the
	// calling goroutine until release is called.
	Scratch(n int) (buf []float32, release func())
}

// Gemm is one single-precision matmul: c = alpha·op(a)·op(b) + beta·c.
type Gemm = GemmOf[float32]

// GemmBF16 is one of bf16 matrices.
type GemmBF16 = GemmOf[uint16]

// GemmOf is a matmul with a and b of type T and c of float32.
type GemmOf[T float32 | uint16] struct {
	TransA, TransB bool
	M, N, K        int
	Alpha          float32
	A              []T
	LDA            int
	B              []T
	LDB            int
	Beta           float32
	C              []float32
	LDC            int
}

// GemmQuant is one matmul by a quantised matrix: c = a·op(b) + beta·c. b is stored as [n,k]
// with TransB, else as [k,n], in rows of whole blocks.
type GemmQuant struct {
	TransB        bool
	M, N, K       int
	A             []float32
	ABF16         []uint16 // a in bf16, instead of A, where HasBF16: b is rounded to bf16 too
	LDA           int
	Format        quant.Format
	B             []byte
	Beta          float32
	C             []float32
	LDC           int
	FullPrecision bool
}

// Buffers are the bound memory ranges of a call on the CPU, in binding order;
// an optional binding that is absent has length 0.
type Buffers [][]byte

// F32 returns binding i as float32 values.
func (b Buffers) F32(i int) []float32 { return cast[float32](b[i]) }

// I32 returns binding i as int32 values.
func (b Buffers) I32(i int) []int32 { return cast[int32](b[i]) }

// U16 returns binding i as the bits of 16-bit floats.
func (b Buffers) U16(i int) []uint16 { return cast[uint16](b[i]) }

func cast[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var element T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(element)))
}

// Array is a binding's contents for the float64 reference: F for F32 bindings,
// I for I32 and U32 ones.
type Array struct {
	F []float64
	I []int64
}

// Case is one conformance case of a kernel.
type Case struct {
	Name   string
	Params any
	Inputs []Input // in binding order, without the scratch binding
	// Tolerance of the outputs: |got-want| <= Atol + Rtol·|want|.
	Atol, Rtol float64
	// AnyNonFinite accepts infinity or NaN where the reference has either: shading
	// languages do not distinguish them reliably.
	AnyNonFinite bool
	// NaNMaySpread accepts elements that are infinite or NaN where the reference's are
	// not.
	NaNMaySpread bool
	// DenormalsMayFlush accepts the results of inputs whose denormal values count as 0: Vulkan and
	// WebGPU leave that to the device.
	DenormalsMayFlush bool
	// Long marks a case that takes seconds on a software device: make conformance runs
	// it, go test does not.
	Long    bool
	Step    []uint32 // step block, when the case needs one
	Storage Storage
	// RecomputedInputTolerance is added to Atol, in units of the 16-bit type's rounding,
	// for the rounding of inputs that the reference recomputes instead of reading them.
	RecomputedInputTolerance float64
	// ProductRoundingTolerance is added, in the same units, for a variant that rounds the
	// operands of a matmul: half of the largest sum of magnitudes of the products.
	ProductRoundingTolerance float64
	// EightBitActivations is added to Atol where a kernel's CPU form rounds activations to 8
	// bits.
	EightBitActivations float64
}

// Elements is the number of elements of the largest binding.
func (c Case) Elements() int {
	largest := 0
	for _, in := range c.Inputs {
		if !in.Absent {
			largest = max(largest, in.Len())
		}
	}
	return largest
}

// Len is the number of elements.
func (in Input) Len() int { return max(in.N, len(in.F), len(in.I), len(in.U)) }

// Input is a binding's contents before the call, one of the fields; N alone
// asks for N normally distributed values (F32) of the given Scale and Mean.
// A Write binding's contents are filled with NaN first.
type Input struct {
	N           int
	Scale, Mean float64
	F           []float32
	I           []int32
	U           []uint32
	Absent      bool
}
