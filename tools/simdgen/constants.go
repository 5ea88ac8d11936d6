package main

import (
	"fmt"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// constants declares vectors of 32 bytes, each once.
type constants struct {
	*build.Context
	prefix string // of their names
	known  [][]byte
	at     []operand.Mem
}

// dwords returns a vector that repeats values.
func (k *constants) dwords(values ...int32) operand.Mem {
	var all []byte
	for _, v := range values {
		all = append(all, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return k.bytes(all...)
}

// words returns a vector that repeats values.
func (k *constants) words(values ...int16) operand.Mem {
	var all []byte
	for _, v := range values {
		all = append(all, byte(v), byte(v>>8))
	}
	return k.bytes(all...)
}

// bytes returns a vector that repeats values, of which there are a divisor of 32.
func (k *constants) bytes(values ...byte) operand.Mem {
	data := slices.Repeat(values, 32/len(values))
	for i, known := range k.known {
		if slices.Equal(known, data) {
			return k.at[i]
		}
	}
	m := k.StaticGlobal(fmt.Sprintf("%s%d", k.prefix, len(k.at)))
	k.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := 0; i < len(data); i += 4 {
		k.AppendDatum(operand.U32(uint32(data[i]) | uint32(data[i+1])<<8 | uint32(data[i+2])<<16 | uint32(data[i+3])<<24))
	}
	k.known, k.at = append(k.known, data), append(k.at, m)
	return m
}
