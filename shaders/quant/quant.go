// Package quant holds the block formats of quantised weights, those of GGUF files
// (ggml-common.h): a block is some values of 4 to 8 bits with the scales that they share.
package quant

import "strings"

// Format is a block format.
type Format uint32

const (
	Q8_0 Format = iota
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q4_K
	Q5_K
	Q6_K
)

// Formats are all formats, in the order of their numbers.
var Formats = []Format{Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K}

var layouts = [...]struct {
	name            string
	elements, bytes int
	scales          []int // offsets of a block's F16 scales and minima
	decode          func(dst []float32, src []byte)
	encode          func(dst []byte, src []float32)
}{
	Q8_0: {"q8_0", 32, 34, []int{0}, decodeQ8_0, encodeQ8_0},
	Q4_0: {"q4_0", 32, 18, []int{0}, decodeQ4_0, encodeQ4_0},
	Q4_1: {"q4_1", 32, 20, []int{0, 2}, decodeQ4_1, encodeQ4_1},
	Q5_0: {"q5_0", 32, 22, []int{0}, decodeQ5_0, encodeQ5_0},
	Q5_1: {"q5_1", 32, 24, []int{0, 2}, decodeQ5_1, encodeQ5_1},
	Q4_K: {"q4_k", 256, 144, []int{0, 2}, decodeQ4_K, encodeQ4_K},
	Q5_K: {"q5_k", 256, 176, []int{0, 2}, decodeQ5_K, encodeQ5_K},
	Q6_K: {"q6_k", 256, 210, []int{208}, decodeQ6_K, encodeQ6_K},
}

// String is the format's name on the command line: "q4_k".
func (f Format) String() string { return layouts[f].name }

// Parse returns the format of a name, in either case.
func Parse(name string) (Format, bool) {
	for _, f := range Formats {
		if strings.EqualFold(f.String(), name) {
			return f, true
		}
	}
	return 0, false
}

// Block is the number of values and of bytes of a block.
func (f Format) Block() (elements, bytes int) { return layouts[f].elements, layouts[f].bytes }

// Bytes is the size of n values, a multiple of the block.
func (f Format) Bytes(n int) int { return n / layouts[f].elements * layouts[f].bytes }

// NonFinite returns the index of the first block with a scale or minimum that is infinite or
// NaN; ok is false if there is none.
func (f Format) NonFinite(data []byte) (block int, ok bool) {
	size := layouts[f].bytes
	for ; block*size < len(data); block++ {
		for _, at := range layouts[f].scales {
			if word(data[block*size+at:])&0x7C00 == 0x7C00 {
				return block, true
			}
		}
	}
	return 0, false
}

// Decode computes the values of whole blocks, as many as dst holds. Matmuls of a scale and
// a value are rounded to float32 before they are added, so that no platform uses a fused
// multiply-add.
func (f Format) Decode(dst []float32, src []byte) { layouts[f].decode(dst, src) }
