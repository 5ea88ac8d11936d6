package simd

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// HasTiles reports whether TileProduct can run: the processor has AMX with bf16, and the system lets
// this process use its registers.
var HasTiles = sync.OnceValue(func() bool {
	return cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && cpu.X86.HasAVX512BF16 && allowTiles()
})

var tileKernels = [2][2]func(config *byte, count, steps int, a *uint16, rs, ks, gs int, b *uint32, c *float32, ldc int, add bool){
	{gemmAMX1x1, gemmAMX1x2}, {gemmAMX2x1, gemmAMX2x2},
}

// Run computes the product. It needs HasTiles.
func (p TileProduct) Run() {
	whole := p.Rows / TileGroup
	if whole > 0 {
		p.run(TileGroup, whole)
	}
	if rest := p.Rows % TileGroup; rest > 0 {
		a, c := unsafe.Pointer(p.A), unsafe.Pointer(p.C)
		p.A = (*uint16)(unsafe.Add(a, 2*whole*2*p.GroupStride))
		p.C = (*float32)(unsafe.Add(c, 4*whole*TileGroup*p.LDC))
		p.run(rest, 1)
	}
}

// run computes count times a number of rows.
func (p TileProduct) run(rows, count int) {
	config := configure(rows, p.Cols)
	kernel := tileKernels[(rows-1)/TileRows][(p.Cols-1)/TilePair]
	kernel(&config.palette, count, p.Steps, p.A, 2*p.RowStride, 2*p.StepStride, 2*p.GroupStride, p.B, p.C, 4*p.LDC, p.Add)
}
