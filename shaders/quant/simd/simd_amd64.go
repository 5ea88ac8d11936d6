package simd

import (
	"golang.org/x/sys/cpu"

	"patchwork/shaders/quant"
)

var (
	hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA
	hasVNNI = hasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
		cpu.X86.HasAVX512VNNI
)

// quantize quantises a row, of which every step-th block is written.
func quantize(blocks []Block, scales []Scale, step int, a []float32, offset int) {
	n := len(a) / Values
	if !hasAVX2 || n == 0 {
		quantizeGo(blocks, scales, step, a, offset)
		return
	}
	_, _ = blocks[(n-1)*step], scales[(n-1)*step]
	quantizeAVX2(&blocks[0].Values[0], &scales[0].Scale, step, &a[0], n, offset)
}

// Q8_0's integers are signed, which AVX2 multiplies as magnitudes and signs.
var setAVX2 = Set{Name: "AVX2", Formats: [...]Format{
	quant.Q8_0: {
		Decode: decodeQ8_0AVX2,
		Dots:   []Dots{dotsQ8_0AVX2_1, dotsQ8_0AVX2_2},
	},
	quant.Q4_0: {
		Offset: 8, Decode: decodeQ4_0AVX2,
		Dots: []Dots{dotsQ4_0AVX2_1, dotsQ4_0AVX2_2},
	},
	quant.Q4_1: {
		Decode: decodeQ4_1AVX2,
		Dots:   []Dots{dotsQ4_1AVX2_1, dotsQ4_1AVX2_2},
	},
	quant.Q5_0: {
		Offset: 16, Decode: decodeQ5_0AVX2,
		Dots: []Dots{dotsQ5_0AVX2_1, dotsQ5_0AVX2_2},
	},
	quant.Q5_1: {
		Decode: decodeQ5_1AVX2,
		Dots:   []Dots{dotsQ5_1AVX2_1, dotsQ5_1AVX2_2},
	},
	quant.Q4_K: {
		Grouped: true, Decode: decodeQ4_KAVX2,
		Dots: []Dots{dotsQ4_KAVX2_1, dotsQ4_KAVX2_2},
	},
	quant.Q5_K: {
		Grouped: true, Decode: decodeQ5_KAVX2,
		Dots: []Dots{dotsQ5_KAVX2_1, dotsQ5_KAVX2_2},
	},
	quant.Q6_K: {
		Offset: 32, Grouped: true, Decode: decodeQ6_KAVX2,
		Dots: []Dots{dotsQ6_KAVX2_1, dotsQ6_KAVX2_2},
	},
}}

var panelDots = []PanelDots{
	panelDotsAVX512_1, panelDotsAVX512_2, panelDotsAVX512_3, panelDotsAVX512_4, panelDotsAVX512_5, panelDotsAVX512_6, panelDotsAVX512_7, panelDotsAVX512_8,
}

var panelDotsMin = []PanelDots{
	panelDotsMinAVX512_1, panelDotsMinAVX512_2, panelDotsMinAVX512_3, panelDotsMinAVX512_4, panelDotsMinAVX512_5, panelDotsMinAVX512_6, panelDotsMinAVX512_7, panelDotsMinAVX512_8,
}

var setVNNI = Set{Name: "AVX-512 VNNI", Formats: [...]Format{
	quant.Q8_0: {
		Offset: 128, Decode: decodeQ8_0AVX2,
		Dots:  []Dots{dotsQ8_0AVX512_1, dotsQ8_0AVX512_2, dotsQ8_0AVX512_3, dotsQ8_0AVX512_4},
		Panel: panelQ8_0AVX512, PanelDots: panelDots,
	},
	quant.Q4_0: {
		Offset: 8, Decode: decodeQ4_0AVX2,
		Dots:  []Dots{dotsQ4_0AVX512_1, dotsQ4_0AVX512_2, dotsQ4_0AVX512_3, dotsQ4_0AVX512_4},
		Panel: panelQ4_0AVX512, PanelDots: panelDots,
	},
	quant.Q4_1: {
		Decode: decodeQ4_1AVX2,
		Dots:   []Dots{dotsQ4_1AVX512_1, dotsQ4_1AVX512_2, dotsQ4_1AVX512_3, dotsQ4_1AVX512_4},
		Panel:  panelQ4_1AVX512, PanelDots: panelDotsMin,
	},
	quant.Q5_0: {
		Offset: 16, Decode: decodeQ5_0AVX2,
		Dots:  []Dots{dotsQ5_0AVX512_1, dotsQ5_0AVX512_2, dotsQ5_0AVX512_3, dotsQ5_0AVX512_4},
		Panel: panelQ5_0AVX512, PanelDots: panelDots,
	},
	quant.Q5_1: {
		Decode: decodeQ5_1AVX2,
		Dots:   []Dots{dotsQ5_1AVX512_1, dotsQ5_1AVX512_2, dotsQ5_1AVX512_3, dotsQ5_1AVX512_4},
		Panel:  panelQ5_1AVX512, PanelDots: panelDotsMin,
	},
	quant.Q4_K: {
		Grouped: true, Decode: decodeQ4_KAVX2,
		Dots: []Dots{dotsQ4_KAVX512_1, dotsQ4_KAVX512_2, dotsQ4_KAVX512_3, dotsQ4_KAVX512_4},
	},
	quant.Q5_K: {
		Grouped: true, Decode: decodeQ5_KAVX2,
		Dots: []Dots{dotsQ5_KAVX512_1, dotsQ5_KAVX512_2, dotsQ5_KAVX512_3, dotsQ5_KAVX512_4},
	},
	quant.Q6_K: {
		Offset: 32, Grouped: true, Decode: decodeQ6_KAVX2,
		Dots: []Dots{dotsQ6_KAVX512_1, dotsQ6_KAVX512_2, dotsQ6_KAVX512_3, dotsQ6_KAVX512_4},
	},
}}

// Sets returns the kernels that this processor supports, the best first; none where there is
// no assembly for it.
func Sets() []Set {
	switch {
	case hasVNNI:
		return []Set{setVNNI, setAVX2}
	case hasAVX2:
		return []Set{setAVX2}
	}
	return nil
}
