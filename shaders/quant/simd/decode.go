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

// DecodeRows decodes rows of cols values in whole blocks of a format of 32 values: rows of src
// start lds bytes apart, those of dst ldd values.
func DecodeRows(f quant.Format, dst []float32, ldd int, src []byte, lds, rows, cols int) {
	elements, size := f.Block()
	if elements != Values {
		panic("quant: " + f.String() + " has no blocks of 32 values")
	}
	if rows == 0 {
		return
	}
	_, _ = dst[(rows-1)*ldd+cols-1], src[(rows-1)*lds+cols/Values*size-1]
	set := best()
	for i := range cols / Values {
		if set != nil {
			set.Formats[f].Decode(&dst[i*Values], ldd, &src[i*size], lds, rows, 0)
			continue
		}
		for r := range rows {
			f.Decode(dst[r*ldd+i*Values:][:Values], src[r*lds+i*size:])
		}
	}
}
