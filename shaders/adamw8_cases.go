package shaders

import (
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders/eightbit"
)

// blockKind is what a block of a case of AdamW8 holds.
type blockKind int

const (
	ordinary  blockKind = iota
	untouched           // no moments yet and no gradient
	fresh               // no moments yet
	fading              // no gradient, and moments just large enough to be kept
	vanishing           // no gradient, and moments that become 0
)

// adamW8Block is a block's inputs.
type adamW8Block struct {
	m, v           []byte
	mscale, vscale float32
	g              []float32
}

// adamW8Margin is how far the codes of a case are from where they round to another, in codes:
// floats of 32 bits are some 1e-5 off.
const adamW8Margin = 0.02

// draw makes a block for gradients of the given scale. One element has the largest of both moments,
// by far, and no code is close to where it rounds to another.
func (p AdamW8Params) draw(random *rand.Rand, kind blockKind, clip, scale float64) adamW8Block {
	const size = eightbit.Block
	b := adamW8Block{m: make([]byte, size), v: make([]byte, size), g: make([]float32, size)}
	switch kind {
	case untouched:
		return b
	case fading, vanishing:
		b.mscale, b.vscale, scale = 1.2*eightbit.Smallest, 1.2*eightbit.Smallest, 0
		if kind == vanishing {
			b.mscale, b.vscale = b.mscale/2, b.vscale/2
		}
	case ordinary:
		b.mscale, b.vscale = float32(scale*clip*(0.5+random.Float64())), float32(scale*clip*scale*clip*(0.5+random.Float64()))
	}
	sign := 1 - 2*random.IntN(2)
	largest := random.IntN(size)
	b.g[largest] = float32(4 * scale * float64(sign))
	if kind != fresh {
		b.m[largest], b.v[largest] = byte(127*sign), 255
	}
	scaleM, scaleV := p.moments(b.m[largest], b.v[largest], float64(b.mscale), float64(b.vscale), float64(b.g[largest])*clip)
	for i := range size {
		for i != largest {
			if kind != fresh {
				b.m[i], b.v[i] = byte(random.IntN(253)-126), byte(random.IntN(255))
			}
			b.g[i] = float32(scale * (6*random.Float64() - 3))
			m, v := p.moments(b.m[i], b.v[i], float64(b.mscale), float64(b.vscale), float64(b.g[i])*clip)
			if rootM, rootV := roots(m, v, math.Abs(scaleM), scaleV); !nearTie(rootM) && !nearTie(rootV) {
				break
			}
		}
	}
	return b
}

// nearTie reports whether a code is close to where it rounds to another.
func nearTie(root float64) bool {
	fraction := math.Abs(root) - math.Floor(math.Abs(root))
	return math.Abs(fraction-0.5) < adamW8Margin
}

func adamW8Cases() []Case {
	const slot, base = 7, 3
	params := func(blocks int, decay float32, narrow bool) AdamW8Params {
		return AdamW8Params{N: uint32(eightbit.Block * blocks), Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: decay, Slot: slot, Narrow: Flag(narrow), Base: base}
	}
	stepped := func(c Case) Case {
		for i, f := range []float32{1e-3, 1.9, 2.3} {
			c.Step = withWord(c.Step, slot+i, math.Float32bits(f))
		}
		c.Rtol, c.Atol = 2e-6, 1e-7 // as AdamW's; scales have a few roundings
		return c
	}
	call := func(clip, decay float32, scale float64, narrow bool, kinds ...blockKind) Case {
		p := params(len(kinds), decay, narrow)
		random := rand.New(rand.NewPCG(uint64(len(kinds)), math.Float64bits(scale)))
		var m, v []byte
		var g []float32
		mscale, vscale := []float32{9, 9, 9}, []float32{9, 9, 9} // of the blocks before the first
		for _, kind := range kinds {
			b := p.draw(random, kind, float64(clip), scale)
			m, v, g = append(m, b.m...), append(v, b.v...), append(g, b.g...)
			mscale, vscale = append(mscale, b.mscale), append(vscale, b.vscale)
		}
		n := len(g)
		c := stepped(Case{
			Params: p,
			Inputs: []Input{{F: []float32{3, clip}}, {F: g}, {N: n, Scale: scale}, packCodes(m), packCodes(v), {F: mscale}, {F: vscale}, {N: n, Scale: 1, Absent: !narrow}},
		})
		return c.named("%d blocks clip=%g decay=%g g=%g narrow=%t", len(kinds), clip, decay, scale, narrow)
	}
	notNarrow := call(1, 0.1, 1, true, ordinary).named("narrow is there and not written")
	notNarrow.Params = params(1, 0.1, false)
	all := []blockKind{ordinary, untouched, fresh, fading, vanishing, ordinary}
	return []Case{
		call(1, 0.1, 1, false, ordinary), call(1, 0.1, 1, false, all...), call(0.25, 0, 1e-3, true, all...), call(0.25, 0.1, 1, true, ordinary),
		call(1, 0.1, 1e-9, false, all...), // Eps dominates the denominator
		call(0, 0.1, 1, true, all...), call(1, 0.1, 1, false, slices.Repeat([]blockKind{ordinary}, 70)...),
		notNarrow, stepped(adamW8Many(params)).named("more than 65535 blocks"),
	}
}

// adamW8Many is a case of more blocks than a row of the grid has, all of moments that become 0.
func adamW8Many(params func(blocks int, decay float32, narrow bool) AdamW8Params) Case {
	const blocks, base = 65537, 3
	n := blocks * eightbit.Block
	codes := Input{U: slices.Repeat([]uint32{0x01ff7f81}, n/4)}
	scales := Input{F: slices.Repeat([]float32{1e-28}, blocks+base)}
	return Case{
		Params: params(blocks, 0.1, false), Long: true,
		Inputs: []Input{{F: []float32{3, 1}}, {N: n, Scale: 1e-30}, {N: n, Scale: 1}, codes, codes, scales, scales, {N: n, Absent: true}},
	}
}
