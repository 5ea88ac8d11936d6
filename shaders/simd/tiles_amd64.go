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
	rs, ks, gs, ldc := 2*p.RowStride, 2*p.StepStride, 2*p.GroupStride, 4*p.LDC
	// Called by their names, which keeps the configuration on the stack.
	switch tall, wide := rows > TileRows, p.Cols > TilePair; {
	case tall && wide:
		gemmAMX2x2(&config.palette, count, p.Steps, p.A, rs, ks, gs, p.B, p.C, ldc, p.Add)
	case tall:
		gemmAMX2x1(&config.palette, count, p.Steps, p.A, rs, ks, gs, p.B, p.C, ldc, p.Add)
	case wide:
		gemmAMX1x2(&config.palette, count, p.Steps, p.A, rs, ks, gs, p.B, p.C, ldc, p.Add)
	default:
		gemmAMX1x1(&config.palette, count, p.Steps, p.A, rs, ks, gs, p.B, p.C, ldc, p.Add)
	}
}
