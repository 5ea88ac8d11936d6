package shaders

import (
	"encoding/binary"
	"math"

	"patchwork/shaders/eightbit"
	"patchwork/shaders/simd"
)

// AdamW8Params are the parameters of AdamW8.
type AdamW8Params struct {
	N           uint32 // elements, a multiple of eightbit.Block
	Beta1       float32
	Beta2       float32
	Eps         float32
	WeightDecay float32
	Slot        uint32 `kernel:"layout"` // as in AdamWParams
	Narrow      uint32 // 1: the new parameters are written to narrow too
	Base        uint32 `kernel:"layout"` // the scales' index of the first block
}

// AdamW8 is AdamW with moments of 8 bits: m and v hold codes of blocks as in package eightbit, four
// to a word, and mscale and vscale the scales of all blocks. The step takes the moments before they
// are rounded.
var AdamW8 = Declare(Decl[AdamW8Params]{
	Name: "adamw8",
	Bindings: []Binding{
		{Name: "clip", Access: Read},
		{Name: "g", Access: Read},
		{Name: "w", Access: ReadWrite},
		{Name: "m", Type: U32, Access: ReadWrite},
		{Name: "v", Type: U32, Access: ReadWrite},
		{Name: "mscale", Access: ReadWrite},
		{Name: "vscale", Access: ReadWrite},
		{Name: "narrow", Access: ReadWrite, Optional: true},
	},
	Include: []string{"group"},
	Variants: []DeclVariant[AdamW8Params]{{
		Group: eightbit.Block / 4, Vec4: []string{"g", "w", "narrow"},
		Passes: []DeclPass[AdamW8Params]{{Grid: func(p AdamW8Params) [3]uint32 { return gridGroups(int(p.N / eightbit.Block)) }}},
	}},
	Halves: [][]string{{"narrow"}},
	Even:   func(AdamW8Params) bool { return true },
	Axes: func(p AdamW8Params) []Axis {
		spans := map[string]Span{"m": {Stride: eightbit.Block}, "v": {Stride: eightbit.Block}}
		for _, name := range []string{"g", "w", "narrow"} {
			spans[name] = Span{Stride: 4 * eightbit.Block}
		}
		return []Axis{{p.N / eightbit.Block, spans, func(first, n uint32) any {
			part := p
			part.Base, part.N = p.Base+first, n*eightbit.Block
			return part
		}}}
	},
	CPU:       adamW8CPU,
	Reference: adamW8Reference,
	Cost:      func(p AdamW8Params) Cost { return Cost{Flops: 30 * float64(p.N), Bytes: 16 * float64(p.N)} },
	Inputs: func(_ AdamW8Params, n []int) map[string]Input {
		return map[string]Input{"clip": {N: n[0], Mean: 1}, "mscale": {N: n[5], Mean: 0.1}, "vscale": {N: n[6], Mean: 0.01}}
	},
	Cases: adamW8Cases,
})

func adamW8CPU(h Host, p AdamW8Params, b Buffers) {
	factor := b.F32(0)[1]
	if factor == 0 {
		return
	}
	g, w, mscale, vscale := b.F32(1), b.F32(2), b.F32(5)[p.Base:], b.F32(6)[p.Base:]
	step := h.Step()[p.Slot:]
	lr, c1, c2 := math.Float32frombits(step[0]), math.Float32frombits(step[1]), math.Float32frombits(step[2])
	s := simd.AdamStep{
		Factor: factor, Beta1: p.Beta1, Beta2: p.Beta2, Eps: p.Eps,
		Decay: 1 - lr*p.WeightDecay, Rate: lr * c1, Correction: c2,
	}
	const size = eightbit.Block
	h.Parallel(int(p.N/size), elementGrain/size, func(lo, hi int) {
		moments, release := h.Scratch(2 * size)
		defer release()
		m, v := moments[:size], moments[size:]
		for i := lo; i < hi; i++ {
			at, end := i*size, (i+1)*size
			eightbit.DecodeFirst(m, b[3][at:end], mscale[i])
			eightbit.DecodeSecond(v, b[4][at:end], vscale[i])
			simd.AdamW(w[at:end], m, v, g[at:end], s)
			mscale[i] = eightbit.EncodeFirst(b[3][at:end], m)
			vscale[i] = eightbit.EncodeSecond(b[4][at:end], v)
			if p.Narrow != 0 {
				copy(b.F32(7)[at:end], w[at:end])
			}
		}
	})
}

func adamW8Reference(p AdamW8Params, b []Array) {
	clip, g, w, step := b[0].F[1], b[1].F, b[2].F, b[8]
	if clip == 0 {
		return
	}
	lr, c1, c2 := stepFloat(step, p.Slot), stepFloat(step, p.Slot+1), stepFloat(step, p.Slot+2)
	const size = eightbit.Block
	m, v := make([]float64, size), make([]float64, size)
	for block := range int(p.N / size) {
		words, scale := block*size/4, int(p.Base)+block
		for i := range size {
			m[i], v[i] = p.moments(code(b[3].I, words, i), code(b[4].I, words, i), b[5].F[scale], b[6].F[scale], g[block*size+i]*clip)
			at := block*size + i
			w[at] -= lr*float64(p.WeightDecay)*w[at] + lr*m[i]*c1/(math.Sqrt(v[i])*c2+float64(p.Eps))
			if p.Narrow != 0 {
				b[7].F[at] = w[at]
			}
		}
		b[5].F[scale], b[6].F[scale] = scaleOf(m), scaleOf(v)
		for i := range size {
			rootM, rootV := roots(m[i], v[i], b[5].F[scale], b[6].F[scale])
			codeV := int64(math.Round(rootV))
			if float32(v[i]) > 0 && rootV > 0 {
				codeV = max(codeV, 1)
			}
			setCode(b[3].I, words, i, int64(math.Round(rootM)))
			setCode(b[4].I, words, i, codeV)
		}
	}
}

// moments are the new moments of an element, given the codes and scales of the former ones and the
// gradient.
func (p AdamW8Params) moments(codeM, codeV byte, scaleM, scaleV, g float64) (m, v float64) {
	rootM := float64(int8(codeM)) / 127
	m = float64(p.Beta1)*rootM*math.Abs(rootM)*scaleM + (1-float64(p.Beta1))*g
	v = float64(p.Beta2)*math.Pow(float64(codeV)/255, 4)*scaleV + (1-float64(p.Beta2))*g*g
	return m, v
}

// scaleOf is the scale of a block in float64.
func scaleOf(x []float64) float64 {
	largest := 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(v))
	}
	if largest < eightbit.Smallest {
		return 0
	}
	return largest
}

// roots are the moments' codes before rounding.
func roots(m, v, scaleM, scaleV float64) (rootM, rootV float64) {
	if scaleM > 0 {
		rootM = math.Copysign(127*math.Sqrt(math.Abs(m)/scaleM), m)
	}
	if scaleV > 0 {
		rootV = 255 * math.Pow(v/scaleV, 0.25)
	}
	return rootM, rootV
}

// code is byte i of the words from an index on.
func code(words []int64, first, i int) byte { return byte(words[first+i/4] >> (8 * (i % 4))) }

func setCode(words []int64, first, i int, code int64) {
	w, shift := &words[first+i/4], 8*(i%4)
	*w = *w&^(0xff<<shift) | code&0xff<<shift
}

// packCodes is codes as words.
func packCodes(codes []byte) Input {
	in := Input{U: make([]uint32, len(codes)/4)}
	for i := range in.U {
		in.U[i] = binary.LittleEndian.Uint32(codes[4*i:])
	}
	return in
}
