// Package simd holds the inner loops of matmuls by quantised matrices: in assembly for
// processors with AVX2, AVX-512 VNNI or NEON, written by tools/simdgen, and as WebAssembly with SIMD, written
// by tools/wasmgen.
package simd

import (
	"math"
	"unsafe"

	"patchwork/shaders/quant"
)

// Values is the number of values of a Block of a and, at a time, of a Decoder.
const Values = 32

// Block is 32 values of a row of a, rounded to 8 bits: Scale.Scale times an integer of
// at most 127.
type Block struct {
	Values [Values]int8
	// Starts are what the sums of products with values 4i to 4i+3 start at: minus the offset
	// that a kernel adds to the integers of b, times the sum of these values.
	Starts [Values / 4]int32
}

// Scale belongs to a Block.
type Scale struct {
	Scale float32 // not finite if a value is not
	Sum   float32 // of the block's values, Scale included
}

// Dots computes c = a·bᵀ + beta·c for a few rows of a, quantised by Format.Quantize, and n rows
// of b. a and scales point into the first of its Blocks and Scales: those of block i of row r
// are number i·rows + r. A row of b is the blocks of a quant.Format that hold blocks·32 values;
// rows follow each other without gaps. Rows of c are ldc apart. An element of c is the same
// sum in the same order whatever n and the number of rows are. blocks and n ≥ 1.
type Dots func(blocks int, a *int8, scales *float32, b *byte, n int, c *float32, ldc int, beta float32)

// Decoder decodes 32 values from each of some blocks, lds bytes apart: values [32·group,
// 32·group+32) of a block, to rows of dst that are ldd values apart. They have the bits of
// quant.Format's Decode. rows ≥ 1.
type Decoder func(dst *float32, ldd int, src *byte, lds, rows, group int)

// PanelRows is the number of rows of b in a panel, and PanelBytes the size of a block of one: its bytes
// as PanelDots multiplies them, its scales and its minima.
const (
	PanelRows  = 16
	PanelBytes = 32*PanelRows + 2*4*PanelRows
)

// Panel unpacks some blocks of PanelRows rows of b, lds bytes apart, to PanelBytes each, and prefetches as
// many bytes, from those that are ahead bytes after the first. blocks ≥ 1, and PanelRows·lds is less than
// 2^31.
type Panel func(dst, src *byte, lds, ahead, blocks int)

// PanelDots computes PanelRows columns of c = a·bᵀ + beta·c for a few rows of a, as Dots does, from a panel
// of b. The first of a Block's Starts is the sum of all.
type PanelDots func(blocks int, a *int8, scales *float32, panel *byte, c *float32, ldc int, beta float32)

// Format are the kernels for one quant.Format.
type Format struct {
	// Offset is what Dots add to the integers of b, so that they are unsigned.
	Offset int
	// Grouped: the Scales of every eight blocks of a row lie together, first the scales, then
	// the sums; with rows of b in blocks of 256.
	Grouped bool
	// Dots are for 1 row of a and more.
	Dots   []Dots
	Decode Decoder
	// Panel and PanelDots, which are for 1 row of a and more, are faster than Dots for many rows; nil:
	// there are none.
	Panel     Panel
	PanelDots []PanelDots
}

// Set are the kernels of an instruction set, by quant.Format, for every one.
type Set struct {
	Name    string
	Formats [quant.Q6_K + 1]Format
}

// least is the largest magnitude of a block whose values count as 0: the reciprocal of
// smaller scales is infinite.
const least = 1e-36

// Quantize rounds rows of k values of a, lda apart, to 8 bits: to the nearest multiple of a
// scale, which is a 127th of the largest magnitude of 32 values. blocks and scales, of
// rows·k/32 elements, are laid out as the Dots for as many rows read them.
func (f *Format) Quantize(blocks []Block, scales []Scale, a []float32, lda, rows, k int) {
	for r := range rows {
		quantize(blocks[r:], scales[r:], rows, a[r*lda:][:k], f.Offset)
	}
	if !f.Grouped {
		return
	}
	for i := 0; i < k/Values; i += 8 {
		group(scales[i*rows:][:8*rows])
	}
}

// QuantizePanel is Quantize for the PanelDots of as many rows.
func (f *Format) QuantizePanel(blocks []Block, scales []Scale, a []float32, lda, rows, k int) {
	f.Quantize(blocks, scales, a, lda, rows, k)
	if f.Offset == 0 {
		return
	}
	for i := range blocks[:rows*k/Values] {
		s := &blocks[i].Starts
		s[0] += s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]
	}
}

// group sorts the Scales of eight blocks of some rows.
func group(scales []Scale) {
	rows := len(scales) / 8
	old := append(make([]Scale, 0, 32), scales...)
	to := unsafe.Slice(&scales[0].Scale, 2*len(scales))
	for r := range rows {
		for i := range 8 {
			to[16*r+i], to[16*r+8+i] = old[i*rows+r].Scale, old[i*rows+r].Sum
		}
	}
}

// Remainder computes what Quantize's rounding leaves of a row: a minus the rounded values.
func Remainder(dst, a []float32) {
	var block Block
	var scale Scale
	for i := 0; i < len(a); i += Values {
		quantizeBlock(&block, &scale, (*[Values]float32)(a[i:]), 0)
		for l, q := range block.Values {
			dst[i+l] = a[i+l] - scale.Scale*float32(q)
		}
	}
}

// quantizeGo quantises a row, of which every step-th block is written.
func quantizeGo(blocks []Block, scales []Scale, step int, a []float32, offset int) {
	for i := 0; i < len(a)/Values; i++ {
		quantizeBlock(&blocks[i*step], &scales[i*step], (*[Values]float32)(a[i*Values:]), offset)
	}
}

func quantizeBlock(block *Block, scale *Scale, a *[Values]float32, offset int) {
	var bits uint32
	for _, v := range a {
		bits = max(bits, math.Float32bits(v)&^(1<<31)) // as integers, NaN is the largest
	}
	*block, *scale = Block{}, Scale{}
	largest := math.Float32frombits(bits)
	switch {
	case bits >= 0xff<<23:
		*scale = Scale{float32(math.NaN()), float32(math.NaN())}
		return
	case largest < least:
		return
	}
	inverse, sum := 127/largest, 0
	for i, v := range a {
		q := int(math.RoundToEven(float64(v * inverse)))
		block.Values[i] = int8(q)
		block.Starts[i/4] -= int32(offset * q)
		sum += q
	}
	scale.Scale = largest / 127
	scale.Sum = scale.Scale * float32(sum)
}
