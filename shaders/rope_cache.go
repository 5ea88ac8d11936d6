package shaders

import (
	"slices"
	"unsafe"

	"patchwork/shaders/half"
	"patchwork/shaders/simd"
)

// section is n elements of a 16-bit binding, starting at element at.
type section struct{ binding, at, n int }

// onSections runs a CPU form on 32-bit copies of sections, one per binding: read is
// converted before, written are rounded afterwards. A token's keys and values are a small
// part of a cache.
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
