package wasm

import (
	"encoding/binary"
	"math"
)

// I32, F32 and V128 are expressions: code that leaves one value of that type on the stack. An address
// is an I32.
type (
	I32  []byte
	F32  []byte
	V128 []byte
)

// kind is a value type as it is encoded.
type kind byte

const (
	i32  kind = 0x7f
	f32  kind = 0x7d
	v128 kind = 0x7b
)

// value is an expression of any type.
type value interface {
	code() []byte
	kind() kind
}

func (x I32) code() []byte  { return x }
func (x F32) code() []byte  { return x }
func (x V128) code() []byte { return x }
func (I32) kind() kind      { return i32 }
func (F32) kind() kind      { return f32 }
func (V128) kind() kind     { return v128 }

// unsigned is the LEB128 encoding of an integer.
func unsigned(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// signed is the signed LEB128 encoding, which an i32.const takes.
func signed(n int32) (b []byte) {
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// join copies the parts of an instruction, so that expressions may be used more than once.
func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// Int is a constant.
func Int(n int) I32 { return join([]byte{0x41}, signed(int32(n))) }

// Float is a constant.
func Float(x float32) F32 {
	return binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(x))
}

// Bytes is a vector constant.
func Bytes(b [16]byte) V128 { return join(simd(0x0c), b[:]) }

// Words is a vector constant of the same word in every lane.
func Words(w uint32) V128 {
	var b [16]byte
	for i := range 4 {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
	return Bytes(b)
}

// Repeat is a vector constant of the same byte in every lane.
func Repeat(x byte) V128 { return Words(0x01010101 * uint32(x)) }

// Floats is a vector constant of the same number in every lane.
func Floats(x float32) V128 { return Words(math.Float32bits(x)) }

// Zero is a vector of zeros.
func Zero() V128 { return Words(0) }
