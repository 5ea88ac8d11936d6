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

// Tile is the part of c that fits this processor's registers.
type Tile struct {
	Name       string
	Rows, Cols int
	Kernels    []Microkernel // for 1 to Rows rows

	Dots []DotsKernel // for 1 row of a and more

	// CopyRows copies rows of Cols values, lds apart, to follow each other.
	CopyRows func(dst, src *float32, lds, rows int)
}
