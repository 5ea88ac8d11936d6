package simd

// Microkernel computes c = alpha·a·b + beta·c for a few rows and at most Tile's columns
// of c, keeping them in registers. Element [i,l] of a is at i·rs + l·ks, so that a may be
// stored either way; b holds k whole rows of Tile.Cols values, ldb apart, whatever n is;
// c has n columns and rows ldc apart. The sum over k is taken in order with fused
// multiply-adds, the same on every processor. k ≥ 1.
type Microkernel func(k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc, n int, alpha, beta float32)

// DotsKernel computes c = alpha·a·bᵀ + beta·c for a few rows of a, all of b's n
// rows and k columns, rows lda, ldb and ldc apart. Every value is a sum in several
// lanes, the same whatever n is. k and n ≥ 1.
type DotsKernel func(k int, a *float32, lda int, b *float32, ldb, n int, c *float32, ldc int, alpha, beta float32)

// NarrowDotsKernel is a DotsKernel over rows of b in 16 bits. k is a multiple of 16.
type NarrowDotsKernel func(k int, a *float32, lda int, b *uint16, ldb, n int, c *float32, ldc int, alpha, beta float32)

// BF16Kernel is a Microkernel over bf16 values in pairs of terms, with sums in float32 (AVX512-BF16):
// pair l of row i of a is at i·rs + l·ks, and b has a row of Tile.Cols pairs for every pair of terms,
// as PairRows packs them. Denormal values count as 0. pairs ≥ 1.
type BF16Kernel func(pairs int, a *uint16, rs, ks int, b *uint32, c *float32, ldc, n int, alpha, beta float32)

// Tile is the part of c that fits this processor's registers.
type Tile struct {
	Name       string
	Rows, Cols int
	Kernels    []Microkernel // for 1 to Rows rows

	Dots []DotsKernel // for 1 row of a and more

	// BF16 are the kernels for 1 to Rows rows of bf16 values; nil where the processor has none.
	BF16 []BF16Kernel

	// PairRows packs rows 2i and 2i+1 of src as row i of dst, for BF16: n ≤ Cols values of each, the
	// first in the low half of a pair; strides count elements.
	PairRows func(dst *uint32, ldd int, src *uint16, lds, pairs, n int)

	// CopyRows copies rows of Cols values, lds apart, to follow each other.
	CopyRows func(dst, src *float32, lds, rows int)

	// CopyPart copies rows of n values, 1 to Cols; nil: there is nothing faster than copy.
	CopyPart func(dst *float32, ldd int, src *float32, lds, rows, n int)
}
