package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockFormat is a format of blocks of 32 or 256 quantised values; see shaders/quant.
type blockFormat struct {
	name   string
	size   int // of a block, in bytes
	offset int // subtracted from a value's unsigned integer
	min    bool
	large  bool // 256 values, in groups of 32 with scales of their own
}

var (
	q8_0 = blockFormat{name: "Q8_0", size: 34, offset: 128} // signed; made unsigned where that is faster
	q4_0 = blockFormat{name: "Q4_0", size: 18, offset: 8}
	q4_1 = blockFormat{name: "Q4_1", size: 20, min: true}
	q5_0 = blockFormat{name: "Q5_0", size: 22, offset: 16}
	q5_1 = blockFormat{name: "Q5_1", size: 24, min: true}
	q4_K = blockFormat{name: "Q4_K", size: 144, min: true, large: true}
	q5_K = blockFormat{name: "Q5_K", size: 176, min: true, large: true}
	q6_K = blockFormat{name: "Q6_K", size: 210, offset: 32, large: true}
)

var blockFormats = []blockFormat{q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, q5_K, q6_K}

// unpacker generates the unpacking of 32 values to unsigned bytes of a vector.
type unpacker struct {
	*build.Context
	constants
	isa
	blockFormat
	known map[operand.Mem]reg.Register // constants in registers
}

func newUnpacker(c *build.Context, s isa, prefix string, f blockFormat) *unpacker {
	return &unpacker{Context: c, constants: constants{Context: c, prefix: prefix}, isa: s, blockFormat: f, known: map[operand.Mem]reg.Register{}}
}

// held is a constant, in a register where there are 32 of them.
func (u *unpacker) held(m operand.Mem) operand.Op {
	if !u.wide {
		return m
	}
	if u.known[m] == nil {
		panic("constant was not loaded: " + m.Asm())
	}
	return u.known[m]
}

// hold loads the constants that a format needs into registers, before a loop.
func (u *unpacker) hold() {
	if !u.wide {
		return
	}
	for _, m := range u.needed() {
		v := u.YMM()
		u.move(m, v)
		u.known[m] = v
	}
}

func (u *unpacker) needed() []operand.Mem {
	switch u.blockFormat {
	case q8_0:
		return []operand.Mem{u.signs()}
	case q4_0, q4_1:
		return []operand.Mem{u.nibbles(), u.halves()}
	case q5_0, q5_1:
		return []operand.Mem{u.nibbles(), u.halves(), u.every(16)}
	case q5_K:
		return []operand.Mem{u.nibbles(), u.every(16)}
	case q6_K:
		return []operand.Mem{u.nibbles(), u.every(0x30), u.halvesOf(0), u.halvesOf(1), u.halvesOf(2), u.halvesOf(3)}
	}
	return []operand.Mem{u.nibbles()}
}

func (u *unpacker) every(b byte) operand.Mem { return u.constants.bytes(b) }
func (u *unpacker) signs() operand.Mem       { return u.every(128) }
func (u *unpacker) nibbles() operand.Mem     { return u.every(15) }

// halves shifts the upper half of a vector by 4 bits.
func (u *unpacker) halves() operand.Mem { return u.dwords(0, 0, 0, 0, 4, 4, 4, 4) }

// halvesOf are the places of the two values of group g, of four, of eight, each four times.
func (u *unpacker) halvesOf(g int) operand.Mem {
	low, high := int32(2*(g%4)), int32(2*(g%4)+1)
	return u.dwords(low, low, low, low, high, high, high, high)
}

// small unpacks a block of 32 values. Those of Q8_0 stay signed.
func (u *unpacker) small(block operand.Mem) reg.VecVirtual {
	v := u.YMM()
	if u.blockFormat == q8_0 {
		u.move(block.Offset(2), v)
		return v
	}
	u.twice(block.Offset(u.size-16), v)
	u.VPSRLVD(u.held(u.halves()), v, v)
	u.and(u.held(u.nibbles()), v)
	switch u.blockFormat {
	case q5_0:
		u.fifthBits(block.Offset(2), v)
	case q5_1:
		u.fifthBits(block.Offset(4), v)
	}
	return v
}

// fifthBits adds 16 where a bit of a word is set.
func (u *unpacker) fifthBits(word operand.Mem, v reg.VecVirtual) {
	if u.wide {
		k := u.K()
		u.KMOVD(word, k)
		u.VPADDB(u.held(u.every(16)), v, k, v)
		return
	}
	t := u.YMM()
	u.VPBROADCASTD(word, t)
	var byteOf [32]byte
	for i := range byteOf {
		byteOf[i] = byte(i / 8)
	}
	u.VPSHUFB(u.constants.bytes(byteOf[:]...), t, t)
	// A byte with all bits but its own set is 255 with that.
	u.VPOR(u.constants.bytes(0xfe, 0xfd, 0xfb, 0xf7, 0xef, 0xdf, 0xbf, 0x7f), t, t)
	u.VPCMPEQB(u.every(255), t, t)
	u.VPAND(u.every(16), t, t)
	u.VPOR(t, v, v)
}

// group unpacks group g of a block of 256 values.
func (u *unpacker) group(block operand.Mem, g int) reg.VecVirtual {
	v := u.YMM()
	switch u.blockFormat {
	case q4_K:
		u.lowBits(block.Offset(16+g/2*32), g%2, v)
	case q5_K:
		u.lowBits(block.Offset(48+g/2*32), g%2, v)
		u.highBits(block.Offset(16), g-4, 16, v)
	case q6_K:
		part, in := g/4, g%4
		u.lowBits(block.Offset(64*part+32*(in%2)), in/2, v)
		u.highBits(block.Offset(128+32*part), 2*in-4, 0x30, v)
	}
	return v
}

// lowBits loads 32 values of 4 bits, the low or the high ones of bytes.
func (u *unpacker) lowBits(m operand.Mem, high int, v reg.VecVirtual) {
	if high == 0 && u.wide {
		u.VPANDD(m, u.held(u.nibbles()), v)
		return
	}
	u.shifted(m, 4*high, v)
	u.and(u.held(u.nibbles()), v)
}

// highBits adds the bits of a mask, after a shift right.
func (u *unpacker) highBits(m operand.Mem, right int, mask byte, v reg.VecVirtual) {
	h := u.YMM()
	u.shifted(m, right, h)
	if u.wide {
		const orAnd = 0xF8 // first | second & third
		u.VPTERNLOGD(operand.U8(orAnd), u.held(u.every(mask)), h, v)
		return
	}
	u.VPAND(u.every(mask), h, h)
	u.VPOR(h, v, v)
}

// shifted loads words shifted right, or left by minus that; bits cross bytes.
func (u *unpacker) shifted(m operand.Mem, right int, v reg.VecVirtual) {
	var from operand.Op = m
	if right == 0 || !u.wide {
		u.move(m, v)
		from = v
	}
	switch {
	case right > 0:
		u.VPSRLW(operand.U8(uint8(right)), from, v)
	case right < 0:
		u.VPSLLW(operand.U8(uint8(-right)), from, v)
	}
}

// Vector operations, of which the encodings for 32 registers have names of their own.

func (u *unpacker) move(m operand.Mem, v reg.VecVirtual) {
	if u.wide {
		u.VMOVDQU32(m, v)
	} else {
		u.VMOVDQU(m, v)
	}
}

// twice loads 16 bytes into both halves.
func (u *unpacker) twice(m operand.Mem, v reg.VecVirtual) {
	if u.wide {
		u.VBROADCASTI32X4(m, v)
	} else {
		u.VBROADCASTI128(m, v)
	}
}

func (u *unpacker) extract(v, upper reg.VecVirtual) {
	if u.wide {
		u.VEXTRACTF32X4(operand.U8(1), v, upper)
	} else {
		u.VEXTRACTF128(operand.U8(1), v, upper)
	}
}

func (u *unpacker) and(x operand.Op, v reg.VecVirtual) {
	if u.wide {
		u.VPANDD(x, v, v)
	} else {
		u.VPAND(x, v, v)
	}
}

func (u *unpacker) xor(x operand.Op, v reg.VecVirtual) {
	if u.wide {
		u.VPXORD(x, v, v)
	} else {
		u.VPXOR(x, v, v)
	}
}

// zero clears a vector. avo does not know that VPXORD of a register with itself reads nothing.
func (u *unpacker) zero(v reg.VecVirtual) {
	if !u.wide {
		u.VPXOR(v, v, v)
		return
	}
	u.Instruction(&ir.Instruction{
		Opcode: "VPXORD", Operands: []operand.Op{v, v, v}, Outputs: []operand.Op{v}, ISA: []string{"AVX512F", "AVX512VL"},
	})
}

// scalesAndMins loads the scales and minima of Q4_K and Q5_K, 6 bits each in 12 bytes at block + 4:
// those of groups 0 to 3 in low and of 4 to 7 in high, scales in the lower half.
func (u *unpacker) scalesAndMins(block operand.Mem) (low, high reg.GPVirtual) {
	low, high = u.GP64(), u.GP64()
	upper, t, mask := u.GP64(), u.GP64(), u.GP64()
	u.MOVQ(block.Offset(4), low)
	u.MOVQ(low, upper)
	u.SHRQ(operand.U8(2), upper)
	u.MOVQ(operand.U64(0x3030303030303030), mask)
	u.ANDQ(mask, upper)
	u.MOVQ(operand.U64(0x3f3f3f3f3f3f3f3f), mask)
	u.ANDQ(mask, low)
	u.MOVL(block.Offset(12), high.As32())
	u.MOVQ(high, t)
	u.SHRQ(operand.U8(4), t)
	u.SHLQ(operand.U8(32), t)
	u.ORQ(t, high)
	u.MOVQ(operand.U64(0x0f0f0f0f0f0f0f0f), mask)
	u.ANDQ(mask, high)
	u.ORQ(upper, high)
	return low, high
}
