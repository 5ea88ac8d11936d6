package main

import "patchwork/tools/wasmgen/wasm"

// blockFormat is a format of package quant, as decode.go there describes it.
type blockFormat struct {
	name   string
	size   int  // bytes of a block
	offset int  // subtracted from the integers
	min    bool // there are minima
	large  bool // blocks are of 256 values, in groups of 32, not of 32
	fifth  int  // where the fifth bits are; 0: there are none
	values int  // where the lower bits are
}

var blockFormats = []blockFormat{
	{name: "Q8_0", size: 34, values: 2},
	{name: "Q4_0", size: 18, offset: 8, values: 2},
	{name: "Q4_1", size: 20, min: true, values: 4},
	{name: "Q5_0", size: 22, offset: 16, fifth: 2, values: 6},
	{name: "Q5_1", size: 24, min: true, fifth: 4, values: 8},
	{name: "Q4_K", size: 144, min: true, large: true, values: 16},
	{name: "Q5_K", size: 176, min: true, large: true, fifth: 16, values: 48},
	{name: "Q6_K", size: 210, offset: 32, large: true, values: 0},
}

// signed is true where the integers are signed as they are stored.
func (b blockFormat) signed() bool { return b.name == "Q8_0" }

// halves is true where each 16 values have a scale of their own.
func (b blockFormat) halves() bool { return b.name == "Q6_K" }

func nibbles(f *wasm.Function) wasm.V128 { return f.Const(wasm.Repeat(15)) }

// unpack returns the 32 integers of a block at p, or of a group of a large one, as bytes in order.
func (b blockFormat) unpack(f *wasm.Function, p wasm.I32, group int) [2]wasm.V128 {
	switch {
	case b.halves():
		return b.sixBits(f, p, group)
	case b.large:
		return b.largeGroup(f, p, group)
	case b.signed():
		return [2]wasm.V128{f.Vec(p.Load(b.values)), f.Vec(p.Load(b.values + 16))}
	}
	q := f.Vec(p.Load(b.values))
	v := [2]wasm.V128{f.Vec(q.And(nibbles(f))), f.Vec(q.I16x8ShrU(4).And(nibbles(f)))}
	if b.fifth != 0 {
		bits := f.Vec(p.LoadSplat(b.fifth))
		for i := range v {
			f.Set(v[i], v[i].Or(fifthBits(f, bits, 2*byte(i))))
		}
	}
	return v
}

// fifthBits is 16 in every byte whose bit is set in the 16 bits from the given byte of a word.
func fifthBits(f *wasm.Function, word wasm.V128, from byte) wasm.V128 {
	var bytes, masks [16]byte
	for i := range bytes {
		bytes[i], masks[i] = from+byte(i/8), 1<<(i%8)
	}
	mask := f.Const(wasm.Bytes(masks))
	return word.Shuffle(word, bytes).And(mask).I8x16Eq(mask).And(f.Const(wasm.Repeat(16)))
}

// largeGroup: the low nibbles of 32 bytes are a group, the high ones the next; the fifth bit of a group
// is its bit of 32 other bytes. Shifts of words move bits between bytes only to where they are masked.
func (b blockFormat) largeGroup(f *wasm.Function, p wasm.I32, group int) (v [2]wasm.V128) {
	for i := range v {
		v[i] = f.Vec(p.Load(b.values + group/2*32 + 16*i).I16x8ShrU(group % 2 * 4).And(nibbles(f)))
		if b.fifth != 0 {
			f.Set(v[i], v[i].Or(shifted(p.Load(b.fifth+16*i), 4-group).And(f.Const(wasm.Repeat(16)))))
		}
	}
	return v
}

// sixBits: four bits as nibbles of 128 bytes, and their upper two as pairs of bits of 64 bytes.
func (b blockFormat) sixBits(f *wasm.Function, p wasm.I32, group int) (v [2]wasm.V128) {
	part, in := group/4, group%4
	for i := range v {
		low := p.Load(64*part + in%2*32 + 16*i).I16x8ShrU(in / 2 * 4).And(nibbles(f))
		v[i] = f.Vec(low.Or(shifted(p.Load(128+32*part+16*i), 4-2*in).And(f.Const(wasm.Repeat(0x30)))))
	}
	return v
}

// shifted is shifted left, or right by a negative number.
func shifted(x wasm.V128, left int) wasm.V128 {
	if left < 0 {
		return x.I16x8ShrU(-left)
	}
	return x.I16x8Shl(left)
}

// groupScales returns the scales of a large block, four at a time: those of its groups and then the minima,
// or those of half groups.
func (b blockFormat) groupScales(f *wasm.Function, p wasm.I32) func(i int) wasm.V128 {
	if b.halves() {
		bytes := f.Vec(p.Load(192))
		factor := f.Vec(widenF16(f, wasm.Zero().Load16Lane(p, 208, 0).I32x4Shl(16)).Words(wasm.Zero(), [4]byte{}))
		return func(i int) wasm.V128 {
			four := [][2]func(wasm.V128) wasm.V128{
				{wasm.V128.I16x8ExtendLowS, wasm.V128.I32x4ExtendLowS}, {wasm.V128.I16x8ExtendLowS, wasm.V128.I32x4ExtendHighS},
				{wasm.V128.I16x8ExtendHighS, wasm.V128.I32x4ExtendLowS}, {wasm.V128.I16x8ExtendHighS, wasm.V128.I32x4ExtendHighS},
			}[i]
			return four[1](four[0](bytes)).F32x4ConvertI32x4S().F32x4Mul(factor)
		}
	}
	bytes := packedScales(f, p)
	scale, low := widenF16(f, p.LoadSplat(0).I32x4Shl(16)), widenF16(f, p.LoadSplat(0))
	return func(i int) wasm.V128 {
		eight, factor := bytes.I16x8ExtendLowU(), scale
		if i >= 2 {
			eight, factor = bytes.I16x8ExtendHighU(), low
		}
		four := eight.I32x4ExtendLowU()
		if i%2 != 0 {
			four = eight.I32x4ExtendHighU()
		}
		return four.F32x4ConvertI32x4S().F32x4Mul(factor)
	}
}

// packedScales unpacks eight scales and eight minima of 6 bits: see scaleAndMin in package quant.
func packedScales(f *wasm.Function, p wasm.I32) wasm.V128 {
	low, mid, high := f.Int(p.Load32(4)), f.Int(p.Load32(8)), f.Int(p.Load32(12))
	six, four, two := wasm.Int(0x3f3f3f3f), wasm.Int(0x0f0f0f0f), wasm.Int(0x03030303)
	return f.Vec(low.And(six).Splat().
		I32x4ReplaceLane(1, high.And(four).Or(low.ShrU(6).And(two).Shl(4))).
		I32x4ReplaceLane(2, mid.And(six)).
		I32x4ReplaceLane(3, high.ShrU(4).And(four).Or(mid.ShrU(6).And(two).Shl(4))))
}
