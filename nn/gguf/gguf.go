// Package gguf reads GGUF, the model format of llama.cpp: typed metadata and
// tensors, usually quantised in blocks
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Versions 2 and 3,
// little-endian.
package gguf

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"patchwork/internal/smallfile"
)

// FormatError is an invalid file and the reason.
type FormatError struct{ File, Reason string }

func (e *FormatError) Error() string { return e.File + ": not a valid GGUF file: " + e.Reason }

// UnsupportedError is a valid file with something that this package cannot read.
type UnsupportedError struct{ File, What string }

func (e *UnsupportedError) Error() string { return e.File + ": " + e.What }

// Tensor describes one tensor of a file.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int // row-major: the last axis is contiguous (reversed in the file)
	start int64 // offset in the file
	bytes int64
}

// Size is the number of elements.
func (t Tensor) Size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is the size in the file.
func (t Tensor) Bytes() int64 { return t.bytes }

// File is an open GGUF file. Tensors are read and dequantised on demand. Its
// methods may be called from several goroutines.
type File struct {
	Version  int
	Metadata Metadata
	Tensors  []Tensor // in the file's order

	name   string
	data   io.ReaderAt
	closer io.Closer
	byName map[string]int
}

// Open opens a file and checks everything but the tensors' data.
func Open(path string) (*File, error) {
	f, err := smallfile.Open(path, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var g *File
	if err == nil {
		g, err = Parse(path, f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	g.closer = f
	return g, nil
}

// Parse reads a file of size bytes. name is used in errors.
func Parse(name string, data io.ReaderAt, size int64) (*File, error) {
	g := &File{name: name, data: data, byName: map[string]int{}}
	r := newReader(data, size)
	if err := g.header(r); err != nil {
		return nil, err
	}
	return g, nil
}

// Close closes the file.
func (g *File) Close() error {
	if g.closer == nil {
		return nil
	}
	return g.closer.Close()
}

// Name is the file's path.
func (g *File) Name() string { return g.name }

// Tensor describes a tensor; ok is false if the file has no tensor of that name.
func (g *File) Tensor(name string) (t Tensor, ok bool) {
	i, ok := g.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return g.Tensors[i], true
}

// Readable returns an *UnsupportedError if a tensor has a type that cannot be read.
func (g *File) Readable() error {
	for _, t := range g.Tensors {
		if err := g.readable(t); err != nil {
			return err
		}
	}
	return nil
}

func (g *File) readable(t Tensor) error {
	if t.Type.Readable() {
		return nil
	}
	return &UnsupportedError{g.name, fmt.Sprintf("tensor %q is quantised as %s; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K", t.Name, t.Type)}
}

// chunkElements is how many elements are read and dequantised at once: a multiple of every
// type's block.
const chunkElements = 1 << 16

// chunkBuffers each hold a chunk of any type.
var chunkBuffers = sync.Pool{New: func() any { b := make([]byte, 4*chunkElements); return &b }}

// Read dequantises the tensor's elements from row-major index from on into dst.
// Both from and len(dst) must be multiples of the type's block, as whole rows are.
func (g *File) Read(name string, from int, dst []float32) error {
	t, ok := g.Tensor(name)
	if !ok {
		return &FormatError{g.name, fmt.Sprintf("there is no tensor %q", name)}
	}
	if err := g.readable(t); err != nil {
		return err
	}
	l := layouts[t.Type]
	if from < 0 || from%l.elements != 0 || len(dst)%l.elements != 0 || from+len(dst) > t.Size() {
		return fmt.Errorf("%s: elements %d to %d of tensor %q are not whole blocks", g.name, from, from+len(dst), name)
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for chunk := range slices.Chunk(dst, chunkElements) {
		start := t.start + int64(from/l.elements)*int64(l.bytes)
		from += len(chunk)
		group.Go(func() error {
			buffer := chunkBuffers.Get().(*[]byte)
			defer chunkBuffers.Put(buffer)
			raw := (*buffer)[:len(chunk)/l.elements*l.bytes]
			if _, err := g.data.ReadAt(raw, start); err != nil {
				return &FormatError{g.name, fmt.Sprintf("tensor %q: %v", name, err)}
			}
			l.decode(chunk, raw)
			return nil
		})
	}
	return group.Wait()
}
