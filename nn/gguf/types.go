package gguf

import (
	"fmt"

	"patchwork/shaders/quant"
)

// Type is how a tensor's elements are stored: in blocks of Elements elements and
// Bytes bytes (ggml.h, ggml_type; ggml-common.h for the blocks).
type Type uint32

// Types that can be read.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

type layout struct {
	name            string
	elements, bytes int // of a block
	decode          func(dst []float32, src []byte)
}

// layouts has the types that can be read, and the sizes of others, so that files with
// those can be checked and listed.
var layouts = map[Type]layout{
	F32:  {"F32", 1, 4, decodeF32},
	F16:  {"F16", 1, 2, decodeF16},
	BF16: {"BF16", 1, 2, decodeBF16},
	Q5_0: {"Q5_0", 32, 22, decodeBlocks(quant.Q5_0)},
	Q5_1: {"Q5_1", 32, 24, decodeBlocks(quant.Q5_1)},
	Q5_K: {"Q5_K", 256, 176, decodeBlocks(quant.Q5_K)},
	Q4_0: {"Q4_0", 32, 18, decodeBlocks(quant.Q4_0)},
	Q4_1: {"Q4_1", 32, 20, decodeBlocks(quant.Q4_1)},
	Q8_0: {"Q8_0", 32, 34, decodeBlocks(quant.Q8_0)},
	Q4_K: {"Q4_K", 256, 144, decodeBlocks(quant.Q4_K)},
	Q6_K: {"Q6_K", 256, 210, decodeBlocks(quant.Q6_K)},

	9:  {"Q8_1", 32, 36, nil},
	10: {"Q2_K", 256, 84, nil}, 11: {"Q3_K", 256, 110, nil}, 15: {"Q8_K", 256, 292, nil},
	16: {"IQ2_XXS", 256, 66, nil}, 17: {"IQ2_XS", 256, 74, nil}, 18: {"IQ3_XXS", 256, 98, nil}, 19: {"IQ1_S", 256, 50, nil},
	20: {"IQ4_NL", 32, 18, nil}, 21: {"IQ3_S", 256, 110, nil}, 22: {"IQ2_S", 256, 82, nil}, 23: {"IQ4_XS", 256, 136, nil},
	24: {"I8", 1, 1, nil}, 25: {"I16", 1, 2, nil}, 26: {"I32", 1, 4, nil}, 27: {"I64", 1, 8, nil}, 28: {"F64", 1, 8, nil},
	29: {"IQ1_M", 256, 56, nil}, 34: {"TQ1_0", 256, 54, nil}, 35: {"TQ2_0", 256, 66, nil}, 39: {"MXFP4", 32, 17, nil},
}

// String is the type's name, such as "Q4_1".
func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Readable reports whether Read supports the type.
func (t Type) Readable() bool { return layouts[t].decode != nil }

// quantised are the types of blocks that matmuls read.
var quantised = map[Type]quant.Format{
	Q8_0: quant.Q8_0, Q4_0: quant.Q4_0, Q4_1: quant.Q4_1, Q5_0: quant.Q5_0, Q5_1: quant.Q5_1,
	Q4_K: quant.Q4_K, Q5_K: quant.Q5_K, Q6_K: quant.Q6_K,
}

// Quantised returns the block format of a type; ok is false for the types of single values.
func (t Type) Quantised() (f quant.Format, ok bool) {
	f, ok = quantised[t]
	return f, ok
}
