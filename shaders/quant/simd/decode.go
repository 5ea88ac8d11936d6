package simd

import (
	"sync"

	"patchwork/shaders/quant"
)

var best = sync.OnceValue(func() *Set {
	if sets := Sets(); len(sets) > 0 {
		return &sets[0]
	}
	return nil
})

// Decode is Format.Decode: the values of whole blocks, as many as dst holds.
func Decode(f quant.Format, dst []float32, src []byte) {
	elements, size := f.Block()
	set, blocks := best(), len(dst)/elements
	if set == nil || blocks == 0 {
		f.Decode(dst, src)
		return
	}
	_ = src[:blocks*size]
	for group := range elements / Values {
		set.Formats[f].Decode(&dst[group*Values], elements, &src[0], size, blocks, group)
	}
}
