package gguf

import "math"

// valueType is a metadata value's type (gguf.md, gguf_metadata_value_type).
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// maxDepth is how deeply arrays may be nested.
const maxDepth = 4

// value reads a value: uint8 to float64, bool, string, or a slice of them; an
// array of arrays is []any.
func (r *reader) value(kind valueType, depth int) any {
	switch kind {
	case typeUint8:
		return r.u8()
	case typeInt8:
		return int8(r.u8())
	case typeUint16:
		return r.u16()
	case typeInt16:
		return int16(r.u16())
	case typeUint32:
		return r.u32()
	case typeInt32:
		return int32(r.u32())
	case typeFloat32:
		return math.Float32frombits(r.u32())
	case typeBool:
		return r.boolean()
	case typeString:
		return r.text()
	case typeUint64:
		return r.u64()
	case typeInt64:
		return int64(r.u64())
	case typeFloat64:
		return math.Float64frombits(r.u64())
	case typeArray:
		if depth == maxDepth {
			r.fail("arrays nested more than %d deep", maxDepth)
			return nil
		}
		return r.array(depth + 1)
	}
	r.fail("unknown type %d", uint32(kind))
	return nil
}

func (r *reader) boolean() bool {
	b := r.u8()
	if b > 1 {
		r.fail("a bool of value %d", b)
	}
	return b == 1
}

func (r *reader) array(depth int) any {
	switch kind := valueType(r.u32()); kind {
	case typeUint8:
		return elements(r, 1, r.u8)
	case typeInt8:
		return elements(r, 1, func() int8 { return int8(r.u8()) })
	case typeUint16:
		return elements(r, 2, r.u16)
	case typeInt16:
		return elements(r, 2, func() int16 { return int16(r.u16()) })
	case typeUint32:
		return elements(r, 4, r.u32)
	case typeInt32:
		return elements(r, 4, func() int32 { return int32(r.u32()) })
	case typeFloat32:
		return elements(r, 4, func() float32 { return math.Float32frombits(r.u32()) })
	case typeBool:
		return elements(r, 1, r.boolean)
	case typeString:
		return elements(r, 8, r.text)
	case typeUint64:
		return elements(r, 8, r.u64)
	case typeInt64:
		return elements(r, 8, func() int64 { return int64(r.u64()) })
	case typeFloat64:
		return elements(r, 8, func() float64 { return math.Float64frombits(r.u64()) })
	case typeArray:
		return elements(r, 12, func() any { return r.value(typeArray, depth) })
	default:
		r.fail("an array of unknown type %d", uint32(kind))
		return nil
	}
}

// elements reads an array whose elements take at least the given number of bytes each.
func elements[T any](r *reader, bytes uint64, next func() T) []T {
	out := make([]T, 0, r.count("elements of an array", bytes))
	for range cap(out) {
		if r.err != nil {
			break
		}
		out = append(out, next())
	}
	return out
}

// Metadata is a file's typed keys and values.
type Metadata struct {
	keys   []string
	values map[string]any
}

// Keys returns the keys in the file's order.
func (m Metadata) Keys() []string { return m.keys }

// Value returns a value as it was read: uint8 to float64, bool, string or a slice
// of them; nil if there is no such key.
func (m Metadata) Value(key string) any { return m.values[key] }

// Has reports whether there is such a key.
func (m Metadata) Has(key string) bool {
	_, ok := m.values[key]
	return ok
}

// Text returns a string; ok is false if the key has none.
func (m Metadata) Text(key string) (s string, ok bool) {
	s, ok = m.values[key].(string)
	return s, ok
}

// Bool returns a bool; ok is false if the key has none.
func (m Metadata) Bool(key string) (b, ok bool) {
	b, ok = m.values[key].(bool)
	return b, ok
}

// Int returns an integer of any type; ok is false if the key has none or it overflows an
// int.
func (m Metadata) Int(key string) (n int, ok bool) {
	switch v := m.values[key].(type) {
	case uint8:
		return int(v), true
	case int8:
		return int(v), true
	case uint16:
		return int(v), true
	case int16:
		return int(v), true
	case uint32:
		return int(v), true
	case int32:
		return int(v), true
	case uint64:
		return int(v), v <= math.MaxInt
	case int64:
		return int(v), true
	}
	return 0, false
}

// Float returns a float32 or float64; ok is false if the key has none.
func (m Metadata) Float(key string) (x float64, ok bool) {
	switch v := m.values[key].(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// Texts returns an array of strings; ok is false if the key has none.
func (m Metadata) Texts(key string) (s []string, ok bool) {
	s, ok = m.values[key].([]string)
	return s, ok
}

// Floats returns an array of float32; ok is false if the key has none.
func (m Metadata) Floats(key string) (x []float32, ok bool) {
	x, ok = m.values[key].([]float32)
	return x, ok
}

// Ints returns an array of 32-bit integers; ok is false if the key has none.
func (m Metadata) Ints(key string) (n []int32, ok bool) {
	switch v := m.values[key].(type) {
	case []int32:
		return v, true
	case []uint32:
		n = make([]int32, len(v))
		for i := range v {
			n[i] = int32(v[i])
		}
		return n, true
	}
	return nil, false
}
