package shaders

import (
	"slices"
	"unsafe"

	"patchwork/shaders/half"
	"patchwork/shaders/simd"
)

// section is n elements of a binding of 16 bits from element at on.
type section struct{ binding, at, n int }

// onSections runs a CPU form on 32-bit floats of some sections alone, one of a
// binding: that of read is widened before, those of written are rounded afterwards. A
// token's keys and values are little of a cache.
func onSections(h Host, f half.Format, b Buffers, read section, written []section, run func(b Buffers)) {
	wide := slices.Clone(b)
	for _, s := range append(written, read) {
		floats, release := h.Scratch(s.n)
		defer release()
		wide[s.binding] = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(floats))), 4*s.n)
	}
	simd.Unpack(f, wide.F32(read.binding), b.U16(read.binding)[read.at:][:read.n])
	run(wide)
	for _, s := range written {
		simd.Pack(f, b.U16(s.binding)[s.at:][:s.n], wide.F32(s.binding))
	}
}
