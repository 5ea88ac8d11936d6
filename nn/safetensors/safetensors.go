// Package safetensors reads and writes Hugging Face's tensor format: the header's length
// in eight bytes, a JSON header, and the tensors' bytes
// (https://github.com/huggingface/safetensors).
package safetensors

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"unsafe"

	"patchwork/internal/smallfile"
)

// FormatError is an invalid file and the reason.
type FormatError struct{ File, Reason string }

func (e *FormatError) Error() string { return e.File + ": not a valid safetensors file: " + e.Reason }

// Tensor describes one tensor of a file.
type Tensor struct {
	DType string // "F32", "I32", …
	Shape []int
	start int64 // offset in the file
	bytes int64
}

// File is an open safetensors file. Tensors are read on demand.
type File struct {
	Metadata map[string]string
	name     string
	file     *os.File
	tensors  map[string]Tensor
}

// maxHeader is the format's own limit, in bytes.
const maxHeader = 100_000_000

var dtypeBytes = map[string]int64{
	"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4,
	"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8,
}

// Open reads and checks the header.
func Open(path string) (*File, error) {
	f, err := smallfile.Open(path, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	s := &File{name: path, file: f}
	if err := s.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *File) bad(format string, args ...any) error {
	return &FormatError{s.name, fmt.Sprintf(format, args...)}
}

func (s *File) readHeader() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	var length [8]byte
	if _, err := io.ReadFull(s.file, length[:]); err != nil {
		return s.bad("it has %d bytes", info.Size())
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > info.Size()-8 {
		return s.bad("its header has %d bytes, but the file has %d", n, info.Size())
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(s.file, header); err != nil {
		return s.bad("the header is truncated")
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(header, &entries); err != nil {
		return s.bad("the header is not JSON: %v", err)
	}
	return s.readEntries(entries, 8+int64(n), info.Size())
}

func (s *File) readEntries(entries map[string]json.RawMessage, data, size int64) error {
	s.tensors = make(map[string]Tensor, len(entries))
	for name, raw := range entries {
		if name == "__metadata__" {
			if err := json.Unmarshal(raw, &s.Metadata); err != nil {
				return s.bad("__metadata__: %v", err)
			}
			continue
		}
		var e struct {
			DType   string   `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return s.bad("tensor %q: %v", name, err)
		}
		start, end := e.Offsets[0], e.Offsets[1]
		want, err := shapeBytes(e.DType, e.Shape)
		if err != nil {
			return s.bad("tensor %q: %v", name, err)
		}
		if _, known := dtypeBytes[e.DType]; !known {
			want = end - start // an unknown type: an error when it is read
		}
		switch {
		case start < 0 || end < start || end-start != want:
			return s.bad("tensor %q of %s %v has bytes %d to %d, but needs %d", name, e.DType, e.Shape, start, end, want)
		case end > size-data:
			return s.bad("tensor %q ends at byte %d, but the file has %d bytes (is it truncated?)", name, data+end, size)
		}
		s.tensors[name] = Tensor{e.DType, e.Shape, data + start, want}
	}
	return s.checkOverlap()
}

func shapeBytes(dtype string, shape []int) (int64, error) {
	n, ok := dtypeBytes[dtype]
	if !ok {
		n = 1
	}
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/int64(d) {
			return 0, fmt.Errorf("impossible shape %v", shape)
		}
		n *= int64(d)
	}
	return n, nil
}

func (s *File) checkOverlap() error {
	names := slices.DeleteFunc(s.Names(), func(n string) bool { return s.tensors[n].bytes == 0 })
	sort.Slice(names, func(i, j int) bool { return s.tensors[names[i]].start < s.tensors[names[j]].start })
	for i := 1; i < len(names); i++ {
		a, b := s.tensors[names[i-1]], s.tensors[names[i]]
		if a.start+a.bytes > b.start {
			return s.bad("tensors %q and %q overlap", names[i-1], names[i])
		}
	}
	return nil
}

// Close closes the file.
func (s *File) Close() error { return s.file.Close() }

// Names returns the tensors' names, sorted.
func (s *File) Names() []string {
	names := make([]string, 0, len(s.tensors))
	for n := range s.tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Tensor describes a tensor; ok is false if the file has no tensor of that name.
func (s *File) Tensor(name string) (t Tensor, ok bool) {
	t, ok = s.tensors[name]
	return t, ok
}

// Size is the number of elements.
func (t Tensor) Size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32 reads a tensor of type F32.
func (s *File) Float32(name string) ([]float32, error) { return read[float32](s, name, "F32") }

// Int32 reads a tensor of type I32.
func (s *File) Int32(name string) ([]int32, error) { return read[int32](s, name, "I32") }

func read[T float32 | int32](s *File, name, dtype string) ([]T, error) {
	t, ok := s.tensors[name]
	switch {
	case !ok:
		return nil, s.bad("there is no tensor %q", name)
	case t.DType != dtype:
		return nil, s.bad("tensor %q is %s, want %s", name, t.DType, dtype)
	}
	values := make([]T, t.bytes/4)
	return values, s.readAt(name, raw(values), t.start)
}

// raw is the memory of values. The format and every supported platform are little-endian.
func raw[T float32 | int32 | uint16](values []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), int(unsafe.Sizeof(one))*len(values))
}

// Entry is a tensor to write. Values is called just before it is written, so that a model
// is never in memory twice.
type Entry struct {
	Name   string
	Shape  []int
	DType  string // "F32", "I32", "F16" or "BF16"
	Values func() (any, error)
}

// Floats makes an F32 entry.
func Floats(name string, shape []int, values func() ([]float32, error)) Entry {
	return Entry{name, shape, "F32", func() (any, error) { return values() }}
}

// Write writes the entries in the order of their names. The same tensors give the same
// bytes.
func Write(w io.Writer, metadata map[string]string, entries []Entry) error {
	entries = slices.Clone(entries)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	var at int64
	for _, e := range entries {
		n, err := shapeBytes(e.DType, e.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		header[e.Name] = map[string]any{"dtype": e.DType, "shape": e.Shape, "data_offsets": [2]int64{at, at + n}}
		at += n
	}
	text, err := json.Marshal(header) // map keys are sorted
	if err != nil {
		return err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if err := binary.Write(out, binary.LittleEndian, uint64(len(text))); err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	for _, e := range entries {
		if err := writeValues(out, e); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
	}
	return out.Flush()
}

func writeValues(w io.Writer, e Entry) error {
	values, err := e.Values()
	if err != nil {
		return err
	}
	var data []byte
	switch v := values.(type) {
	case []float32:
		data = raw(v)
	case []int32:
		data = raw(v)
	case []uint16:
		data = raw(v)
	}
	if want, _ := shapeBytes(e.DType, e.Shape); int64(len(data)) != want {
		return fmt.Errorf("got %d bytes, but shape %v needs %d", len(data), e.Shape, want)
	}
	_, err = w.Write(data)
	return err
}
