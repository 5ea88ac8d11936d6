// Package gguftest writes GGUF files for tests, valid and invalid ones.
package gguftest

import (
	"encoding/binary"
	"math"
	"slices"

	"patchwork/nn/gguf"
)

// Pair is a metadata key with its value.
type Pair = gguf.Pair

// Pairs makes metadata of alternating keys and values.
func Pairs(keysAndValues ...any) []Pair {
	var out []Pair
	for i := 0; i < len(keysAndValues); i += 2 {
		out = append(out, Pair{Key: keysAndValues[i].(string), Value: keysAndValues[i+1]})
	}
	return out
}

// Tensor is one tensor; Shape is row-major. Data is encoded as in the file.
type Tensor struct {
	Name  string
	Type  gguf.Type
	Shape []int
	Data  []byte
}

// Floats makes an F32 tensor.
func Floats(name string, shape []int, values []float32) Tensor {
	var data []byte
	for _, x := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return Tensor{name, gguf.F32, shape, data}
}

const alignment = 32

// File returns the bytes of a file.
func File(version uint32, metadata []Pair, tensors []Tensor) []byte {
	out := binary.LittleEndian.AppendUint32([]byte("GGUF"), version)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(tensors)))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(metadata)))
	for _, p := range metadata {
		out = p.Append(out)
	}
	at := uint64(0)
	for _, t := range tensors {
		out = append(binary.LittleEndian.AppendUint64(out, uint64(len(t.Name))), t.Name...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(t.Shape)))
		for _, d := range slices.Backward(t.Shape) {
			out = binary.LittleEndian.AppendUint64(out, uint64(d))
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(t.Type))
		out = binary.LittleEndian.AppendUint64(out, at)
		at = up(at + uint64(len(t.Data)))
	}
	for _, t := range tensors {
		out = append(pad(out), t.Data...)
	}
	return pad(out)
}

func up(n uint64) uint64 { return (n + alignment - 1) / alignment * alignment }

func pad(out []byte) []byte { return append(out, make([]byte, int(up(uint64(len(out))))-len(out))...) }
