package gguf

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	maxAxes          = 4
	maxAlignment     = 1 << 20
)

// The minimum sizes of a metadata key and of a tensor's description: a header that declares
// more of them than fit into the file is invalid.
const (
	minKeyBytes    = 8 + 4 + 1
	minTensorBytes = 8 + 4 + 4 + 8
)

// reader reads little-endian values and counts the bytes.
type reader struct {
	r    *bufio.Reader
	at   int64
	size int64
	err  error // the first one; reads after it return zeros
}

func newReader(data io.ReaderAt, size int64) *reader {
	return &reader{r: bufio.NewReaderSize(io.NewSectionReader(data, 0, size), 1<<18), size: size}
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) remaining() uint64 { return uint64(r.size - r.at) }

// take reads n bytes into b.
func (r *reader) take(b []byte) []byte {
	if r.err != nil {
		clear(b)
		return b
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.fail("the file ends at byte %d, in the middle of the header (is it truncated?)", r.size)
		clear(b)
	}
	r.at += int64(len(b))
	return b
}

func (r *reader) u8() uint8 { var b [1]byte; return r.take(b[:])[0] }

func (r *reader) u16() uint16 { var b [2]byte; return binary.LittleEndian.Uint16(r.take(b[:])) }

func (r *reader) u32() uint32 { var b [4]byte; return binary.LittleEndian.Uint32(r.take(b[:])) }

func (r *reader) u64() uint64 { var b [8]byte; return binary.LittleEndian.Uint64(r.take(b[:])) }

// count reads the number of items that take at least the given number of bytes each.
func (r *reader) count(what string, bytes uint64) int {
	n := r.u64()
	if r.err == nil && n > r.remaining()/bytes {
		r.fail("the header declares %d %s, but only %d bytes are left", n, what, r.remaining())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(make([]byte, r.count("bytes of text", 1)))) }

func (g *File) header(r *reader) error {
	if m := string(r.take(make([]byte, 4))); r.err == nil && m != magic {
		return &FormatError{g.name, fmt.Sprintf("it starts with %q, not %q", m, magic)}
	}
	version := r.u32()
	switch {
	case r.err != nil:
		return &FormatError{g.name, fmt.Sprintf("it has %d bytes", r.size)}
	case version == 2<<24 || version == 3<<24:
		return &UnsupportedError{g.name, "big-endian GGUF; only little-endian files are supported"}
	case version != 2 && version != 3:
		return &UnsupportedError{g.name, fmt.Sprintf("GGUF version %d; supported are versions 2 and 3", version)}
	}
	g.Version = int(version)
	tensors := r.count("tensors", minTensorBytes)
	g.metadata(r, r.count("metadata keys", minKeyBytes))
	alignment := g.alignment(r)
	for range tensors {
		if r.err != nil {
			break
		}
		g.tensor(r)
	}
	if r.err == nil {
		g.resolveOffsets(r, alignment)
	}
	if r.err != nil {
		return &FormatError{g.name, r.err.Error()}
	}
	return nil
}

func (g *File) metadata(r *reader, keys int) {
	g.Metadata = Metadata{values: map[string]any{}}
	for range keys {
		key := r.text()
		kind := valueType(r.u32())
		value := r.value(kind, 0)
		if r.err != nil {
			r.err = fmt.Errorf("metadata key %q: %w", key, r.err)
			return
		}
		if _, ok := g.Metadata.values[key]; ok {
			r.fail("metadata key %q occurs twice", key)
			return
		}
		g.Metadata.keys, g.Metadata.values[key] = append(g.Metadata.keys, key), value
	}
}

func (g *File) alignment(r *reader) int64 {
	const key = "general.alignment"
	if !g.Metadata.Has(key) {
		return defaultAlignment
	}
	n, ok := g.Metadata.Int(key)
	if !ok || n < 8 || n%8 != 0 || n > maxAlignment {
		r.fail("%s is %v, want a multiple of 8", key, g.Metadata.values[key])
	}
	return int64(n)
}

// tensor reads one description. Its start is an offset in the data until resolveOffsets.
func (g *File) tensor(r *reader) {
	t := Tensor{Name: r.text(), file: g}
	axes := r.u32()
	if axes > maxAxes {
		r.fail("tensor %q has %d axes", t.Name, axes)
		return
	}
	elements := int64(1)
	for range axes {
		d := r.u64()
		if d > math.MaxInt32 || d > 0 && elements > math.MaxInt64/16/int64(d) {
			r.fail("tensor %q has an axis of %d", t.Name, d)
			return
		}
		elements *= int64(d)
		t.Shape = append(t.Shape, int(d))
	}
	t.Type = Type(r.u32())
	offset := r.u64()
	l, known := layouts[t.Type]
	_, duplicate := g.byName[t.Name]
	switch {
	case r.err != nil:
		return
	case !known:
		r.fail("tensor %q has the unknown type %d", t.Name, uint32(t.Type))
	case len(t.Shape) > 0 && t.Shape[0]%l.elements != 0:
		r.fail("tensor %q has rows of %d elements, not whole blocks of %s", t.Name, t.Shape[0], t.Type)
	case l.elements > 1 && axes == 0:
		r.fail("tensor %q is a single element of type %s", t.Name, t.Type)
	case duplicate:
		r.fail("tensor %q occurs twice", t.Name)
	case offset > uint64(r.size):
		r.fail("tensor %q starts at byte %d of the data, but the file has %d bytes (is it truncated?)", t.Name, offset, r.size)
	}
	if r.err != nil {
		return
	}
	slices.Reverse(t.Shape)
	t.start, t.bytes = int64(offset), elements/int64(l.elements)*int64(l.bytes)
	g.byName[t.Name] = len(g.Tensors)
	g.Tensors = append(g.Tensors, t)
}

// resolveOffsets turns offsets in the data into offsets in the file and checks them.
func (g *File) resolveOffsets(r *reader, alignment int64) {
	data := (r.at + alignment - 1) / alignment * alignment
	for i := range g.Tensors {
		t := &g.Tensors[i]
		if t.start%alignment != 0 {
			r.fail("tensor %q starts at byte %d of the data, not a multiple of the alignment %d", t.Name, t.start, alignment)
			return
		}
		t.start += data
		if t.bytes > r.size-t.start {
			r.fail("tensor %q ends at byte %d, but the file has %d bytes (is it truncated?)", t.Name, t.start+t.bytes, r.size)
			return
		}
	}
	order := slices.SortedFunc(slices.Values(g.Tensors), func(a, b Tensor) int { return cmp.Compare(a.start, b.start) })
	order = slices.DeleteFunc(order, func(t Tensor) bool { return t.bytes == 0 })
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; a.start+a.bytes > b.start {
			r.fail("tensors %q and %q overlap", a.Name, b.Name)
			return
		}
	}
}
