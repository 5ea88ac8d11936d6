// Package quant holds the block formats of quantised weights, those of GGUF files
// (ggml-common.h): a block is some values of 4 to 8 bits with the scales that they share.
package quant

import (
	"strings"
)

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
	decode          func(dst []float32, src []byte)
}{
	Q8_0: {"q8_0", 32, 34, decodeQ8_0},
	Q4_0: {"q4_0", 32, 18, decodeQ4_0},
	Q4_1: {"q4_1", 32, 20, decodeQ4_1},
	Q5_0: {"q5_0", 32, 22, decodeQ5_0},
	Q5_1: {"q5_1", 32, 24, decodeQ5_1},
	Q4_K: {"q4_k", 256, 144, decodeQ4_K},
	Q5_K: {"q5_k", 256, 176, decodeQ5_K},
	Q6_K: {"q6_k", 256, 210, decodeQ6_K},
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

// Decode computes the values of whole blocks, as many as dst holds. Matmuls of a scale and
// a value are rounded to float32 before they are added, so that no platform uses a fused
// multiply-add.
func (f Format) Decode(dst []float32, src []byte) { layouts[f].decode(dst, src) }
