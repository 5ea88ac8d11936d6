package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"

	"patchwork/shaders/half"
)

// chunkBytes is how much of a tensor is read at once for conversion.
const chunkBytes = 1 << 20

// TypeError is a tensor of an unsupported type.
type TypeError struct{ File, Tensor, DType string }

func (e *TypeError) Error() string {
	return fmt.Sprintf("%s: tensor %q has the unsupported type %.20s; supported are F32, F16, BF16 and F64: take the model's unquantised files, or a GGUF file", e.File, e.Tensor, e.DType)
}

// ReadFloats reads the tensor's elements from row-major index from on into dst,
// from F32, F16, BF16 or F64.
func (s *File) ReadFloats(name string, from int, dst []float32) error {
	t, ok := s.tensors[name]
	switch {
	case !ok:
		return s.bad("there is no tensor %q", name)
	case from < 0 || from+len(dst) > t.Size():
		return s.bad("tensor %q has %d elements, so %d to %d cannot be read", name, t.Size(), from, from+len(dst))
	}
	width := int(dtypeBytes[t.DType])
	convert := converters[t.DType]
	switch {
	case t.DType == "F32":
		return s.readAt(name, raw(dst), t.start+4*int64(from))
	case convert == nil:
		return &TypeError{s.name, name, t.DType}
	}
	buffer := make([]byte, min(len(dst)*width, chunkBytes))
	for len(dst) > 0 {
		n := min(len(dst), len(buffer)/width)
		if err := s.readAt(name, buffer[:n*width], t.start+int64(from)*int64(width)); err != nil {
			return err
		}
		convert(dst[:n], buffer)
		dst, from = dst[n:], from+n
	}
	return nil
}

func (s *File) readAt(name string, b []byte, at int64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := s.file.ReadAt(b, at); err != nil {
		return s.bad("tensor %q: %v", name, err)
	}
	return nil
}

var converters = map[string]func(dst []float32, src []byte){
	"F16": func(dst []float32, src []byte) {
		table := half.Table()
		for i := range dst {
			dst[i] = table[binary.LittleEndian.Uint16(src[2*i:])]
		}
	},
	"BF16": func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = half.FromBF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	},
	"F64": func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	},
}

// HalfFloats makes an F16 or BF16 entry of float32 values.
func HalfFloats(name, dtype string, shape []int, values func() ([]float32, error)) (Entry, error) {
	convert := map[string]func(float32) uint16{"F16": half.ToF16, "BF16": half.ToBF16}[dtype]
	if convert == nil {
		return Entry{}, fmt.Errorf("tensor %q cannot be written as %s", name, dtype)
	}
	return Entry{name, shape, dtype, func() (any, error) {
		floats, err := values()
		out := make([]uint16, len(floats))
		for i, x := range floats {
			out[i] = convert(x)
		}
		return out, err
	}}, nil
}
