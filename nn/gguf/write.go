package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Pair is a metadata key with its value: uint8 to float64, bool, string, a slice of them, or
// []any of slices.
type Pair struct {
	Key   string
	Value any
}

// Append appends the pair as it is in a file. It panics for a value of another type.
func (p Pair) Append(out []byte) []byte {
	out = text(out, p.Key)
	return value(binary.LittleEndian.AppendUint32(out, kind(p.Value)), p.Value)
}

// Entry is a tensor to be written. Shape is row-major; Write writes the data as they are in the
// file, and is called once.
type Entry struct {
	Name  string
	Type  Type
	Shape []int
	Write func(w io.Writer) error
}

// Bytes is the size of the data.
func (e Entry) Bytes() int64 {
	l, n := layouts[e.Type], int64(1)
	for _, d := range e.Shape {
		n *= int64(d)
	}
	return n / int64(l.elements) * int64(l.bytes)
}

// alignment is that of the tensors' data.
const alignment = 32

// version is the format's version that Write writes.
const version = 3

// Write writes a file: the metadata in their order, and the tensors.
func Write(w io.Writer, metadata []Pair, tensors []Entry) error {
	out := &counter{w: bufio.NewWriterSize(w, 1<<20)}
	header, err := encodeHeader(metadata, tensors)
	if err != nil {
		return err
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	for _, e := range tensors {
		if err := out.pad(); err != nil {
			return err
		}
		start := out.n
		if err := e.Write(out); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if got := out.n - start; got != e.Bytes() {
			return fmt.Errorf("tensor %q: got %d bytes, but shape %v in %s needs %d", e.Name, got, e.Shape, e.Type, e.Bytes())
		}
	}
	if err := out.pad(); err != nil {
		return err
	}
	return out.w.Flush()
}

// counter counts the bytes written.
type counter struct {
	w *bufio.Writer
	n int64
}

func (c *counter) Write(data []byte) (int, error) {
	n, err := c.w.Write(data)
	c.n += int64(n)
	return n, err
}

// pad writes zeros up to the alignment.
func (c *counter) pad() error {
	_, err := c.Write(make([]byte, aligned(c.n)-c.n))
	return err
}

func aligned(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// encodeHeader is everything before the tensors' data.
func encodeHeader(metadata []Pair, tensors []Entry) ([]byte, error) {
	out := binary.LittleEndian.AppendUint32([]byte("GGUF"), version)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(tensors)))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(metadata)))
	for _, p := range metadata {
		out = p.Append(out)
	}
	var at int64
	for _, e := range tensors {
		l, ok := layouts[e.Type]
		if cols := e.Shape[len(e.Shape)-1]; !ok || cols%l.elements != 0 {
			return nil, fmt.Errorf("tensor %q: rows of %d values are not whole blocks of %s", e.Name, cols, e.Type)
		}
		out = text(out, e.Name)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Shape)))
		for _, d := range slices.Backward(e.Shape) {
			out = binary.LittleEndian.AppendUint64(out, uint64(d))
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(e.Type))
		out = binary.LittleEndian.AppendUint64(out, uint64(at))
		at = aligned(at + e.Bytes())
	}
	return out, nil
}

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
		panic(fmt.Sprintf("gguf: metadata of type %T: %v", v, err)) // a mistake of the caller
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
