package quant

import (
	"encoding/binary"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"patchwork/shaders/half"
)

// Encode rounds values to whole blocks. The formats with one scale and minimum for 32
// values take them from the values' range, as llama.cpp does; those with 256 values search
// for the scales with the smallest squared error, in which large values weigh more. Values
// must be finite, and within F16's range times the format's largest integer.
func (f Format) Encode(dst []byte, src []float32) { layouts[f].encode(dst, src) }

// encodeChunk is how many values EncodeParallel gives a goroutine: whole blocks of any format.
const encodeChunk = 1 << 14

// EncodeParallel is Encode on all cores.
func EncodeParallel(f Format, dst []byte, src []float32) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(src); from += encodeChunk {
		part := src[from:min(len(src), from+encodeChunk)]
		group.Go(func() error {
			f.Encode(dst[f.Bytes(from):], part)
			return nil
		})
	}
	_ = group.Wait() // Encode has no errors
}

func putF16(dst []byte, x float32) { binary.LittleEndian.PutUint16(dst, half.ToF16(x)) }

// inverse is 1/x, 0 for 0.
func inverse(x float32) float32 {
	if x == 0 {
		return 0
	}
	return 1 / x
}

// extreme is the value with the largest magnitude.
func extreme(x []float32) float32 {
	var most float32
	for _, v := range x {
		if abs(v) > abs(most) {
			most = v
		}
	}
	return most
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// round rounds to the nearest integer, halves away from zero, as C's roundf.
func round(x float32) int {
	if x < 0 {
		return -int(0.5 - x)
	}
	return int(x + 0.5)
}

func limits(x []float32) (lowest, highest float32) {
	lowest, highest = x[0], x[0]
	for _, v := range x[1:] {
		lowest, highest = min(lowest, v), max(highest, v)
	}
	return lowest, highest
}

func encodeQ8_0(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[34:], src[32:] {
		scale := abs(extreme(src[:32])) / 127
		putF16(dst, scale)
		inv := inverse(scale)
		for i, x := range src[:32] {
			dst[2+i] = byte(int8(round(x * inv)))
		}
	}
}

// encodeQ4_0 gives the extreme value the integer -8, of which there is no positive.
func encodeQ4_0(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[32:] {
		scale := extreme(src[:32]) / -8
		putF16(dst, scale)
		packNibbles(dst[2:18], integers(src[:32], 0, inverse(scale), 8.5, 15))
	}
}

func encodeQ4_1(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[20:], src[32:] {
		low, high := limits(src[:32])
		scale := (high - low) / 15
		putF16(dst, scale)
		putF16(dst[2:], low)
		packNibbles(dst[4:20], integers(src[:32], low, inverse(scale), 0.5, 15))
	}
}

func encodeQ5_0(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[22:], src[32:] {
		scale := extreme(src[:32]) / -16
		putF16(dst, scale)
		packFiveBits(dst[2:22], integers(src[:32], 0, inverse(scale), 16.5, 31))
	}
}

func encodeQ5_1(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[24:], src[32:] {
		low, high := limits(src[:32])
		scale := (high - low) / 31
		putF16(dst, scale)
		putF16(dst[2:], low)
		packFiveBits(dst[4:24], integers(src[:32], low, inverse(scale), 0.5, 31))
	}
}

// integers are (x-low)·inv + offset, rounded down, of 32 values, at most limit.
func integers(x []float32, low, inv, offset float32, limit int) (q [32]byte) {
	for i, v := range x {
		q[i] = byte(max(0, min(limit, int((v-low)*inv+offset))))
	}
	return q
}

func packNibbles(dst []byte, q [32]byte) {
	for i := range 16 {
		dst[i] = q[i]&15 | q[i+16]<<4
	}
}

func packFiveBits(dst []byte, q [32]byte) {
	var high uint32
	for i, v := range q {
		high |= uint32(v>>4) << i
	}
	binary.LittleEndian.PutUint32(dst, high)
	packNibbles(dst[4:], q)
}
