// Package gguftest writes GGUF files for tests, valid and invalid ones.
package gguftest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"patchwork/nn/gguf"
)

// Pair is a metadata key with its value: uint8 to float64, bool, string, a slice
// of them, or []any of slices.
type Pair struct {
	Key   string
	Value any
}

// Pairs makes metadata of alternating keys and values.
func Pairs(keysAndValues ...any) []Pair {
	var out []Pair
	for i := 0; i < len(keysAndValues); i += 2 {
		out = append(out, Pair{keysAndValues[i].(string), keysAndValues[i+1]})
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
		out = text(out, p.Key)
		out = binary.LittleEndian.AppendUint32(out, kind(p.Value))
		out = value(out, p.Value)
	}
	at := uint64(0)
	for _, t := range tensors {
		out = text(out, t.Name)
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

func text(out []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(out, uint64(len(s))), s...)
}

const (
	kindString = 8
	kindArray  = 9
)

// kind is the number of a value's type in the format.
func kind(v any) uint32 {
	switch v.(type) {
	case uint8:
		return 0
	case int8:
		return 1
	case uint16:
		return 2
	case int16:
		return 3
	case uint32:
		return 4
	case int32:
		return 5
	case float32:
		return 6
	case bool:
		return 7
	case string:
		return kindString
	case uint64:
		return 10
	case int64:
		return 11
	case float64:
		return 12
	}
	return kindArray
}

func value(out []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return text(out, v)
	case []string:
		return array(out, v)
	case []uint8:
		return array(out, v)
	case []int32:
		return array(out, v)
	case []uint32:
		return array(out, v)
	case []float32:
		return array(out, v)
	case []bool:
		return array(out, v)
	case []uint64:
		return array(out, v)
	case []any:
		out = binary.LittleEndian.AppendUint32(out, kindArray)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(v)))
		for _, one := range v {
			out = value(out, one)
		}
		return out
	}
	out, err := binary.Append(out, binary.LittleEndian, v)
	if err != nil {
		panic(fmt.Sprintf("gguftest: %T: %v", v, err))
	}
	return out
}

func array[T any](out []byte, values []T) []byte {
	var zero T
	out = binary.LittleEndian.AppendUint32(out, kind(zero))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(values)))
	for _, v := range values {
		out = value(out, v)
	}
	return out
}
