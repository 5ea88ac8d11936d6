package arm64

import "fmt"

// bytes3 adds an instruction of three vectors of 16 bytes that Go's assembler has.
func (f *Function) bytes3(name string, d, n, m *V) { f.native(name, "B16", false, d, n, m) }

// SUBB: d = n - m, of bytes.
func (f *Function) SUBB(d, n, m *V) { f.bytes3("VSUB", d, n, m) }

// ADDB: d = n + m, of bytes.
func (f *Function) ADDB(d, n, m *V) { f.bytes3("VADD", d, n, m) }

// CMTSTB: d = all ones in the bytes where n & m is not 0, else 0.
func (f *Function) CMTSTB(d, n, m *V) { f.bytes3("VCMTST", d, n, m) }

// USHRB: d = n >> bits, of bytes.
func (f *Function) USHRB(d, n *V, bits int) { f.shiftB("VUSHR", d, n, bits) }

// SHLB: d = n << bits, of bytes.
func (f *Function) SHLB(d, n *V, bits int) { f.shiftB("VSHL", d, n, bits) }

func (f *Function) shiftB(name string, d, n *V, bits int) {
	f.add(1, func(r []int) string { return fmt.Sprintf("%s $%d, V%d.B16, V%d.B16", name, bits, r[1], r[0]) }, d, n)
}

// USHLB: d = n << m, of bytes; a negative m shifts right.
func (f *Function) USHLB(d, n, m *V) { f.three(0x6e204400, "ushl", "16b", "16b", false, d, n, m) }

// TBL: byte i of d is byte index[i] of table, 0 where there is none.
func (f *Function) TBL(d, table, index *V) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VTBL V%d.B16, [V%d.B16], V%d.B16", r[2], r[1], r[0]) }, d, table, index)
}

// DUPB broadcasts the low byte of a general register.
func (f *Function) DUPB(d *V, r R) {
	f.add(1, func(regs []int) string { return fmt.Sprintf("VDUP %s, V%d.B16", r, regs[0]) }, d)
}

// DUP broadcasts the low word of a general register.
func (f *Function) DUP(d *V, r R) {
	f.add(1, func(regs []int) string { return fmt.Sprintf("VDUP %s, V%d.S4", r, regs[0]) }, d)
}

// SDOT: d += four sums of four products of signed bytes (FEAT_DotProd).
func (f *Function) SDOT(d, n, m *V) { f.three(0x4e809400, "sdot", "4s", "16b", true, d, n, m) }

// SMULL: d = products of the lower eight signed bytes, in 16 bits.
func (f *Function) SMULL(d, n, m *V) { f.three(0x0e20c000, "smull", "8h", "8b", false, d, n, m) }

// SMULL2: d = products of the upper eight signed bytes, in 16 bits.
func (f *Function) SMULL2(d, n, m *V) { f.three(0x4e20c000, "smull2", "8h", "16b", false, d, n, m) }

// ADDPH: the sums of neighbours in 16 bits, of n and then of m.
func (f *Function) ADDPH(d, n, m *V) { f.native("VADDP", "H8", false, d, n, m) }

// SADDLP: d = the sums of neighbours in 16 bits, in 32 bits.
func (f *Function) SADDLP(d, n *V) { f.two(0x4e602800, "saddlp", "4s", "8h", "", false, d, n) }

// SADALP: d += the sums of neighbours in 16 bits, in 32 bits.
func (f *Function) SADALP(d, n *V) { f.two(0x4e606800, "sadalp", "4s", "8h", "", true, d, n) }

// SXTLB: d = the lower eight signed bytes in 16 bits.
func (f *Function) SXTLB(d, n *V) { f.two(0x0f08a400, "sxtl", "8h", "8b", "", false, d, n) }

// SXTL2B: d = the upper eight signed bytes in 16 bits.
func (f *Function) SXTL2B(d, n *V) { f.two(0x4f08a400, "sxtl2", "8h", "16b", "", false, d, n) }

// SXTLH: d = the lower four signed integers of 16 bits in 32 bits.
func (f *Function) SXTLH(d, n *V) { f.two(0x0f10a400, "sxtl", "4s", "4h", "", false, d, n) }

// SXTL2H: d = the upper four signed integers of 16 bits in 32 bits.
func (f *Function) SXTL2H(d, n *V) { f.two(0x4f10a400, "sxtl2", "4s", "8h", "", false, d, n) }

// UZP1H takes the lower halves of n's and then of m's 32 bits.
func (f *Function) UZP1H(d, n, m *V) { f.native("VUZP1", "H8", false, d, n, m) }

// UZP1B takes the lower halves of n's and then of m's 16 bits.
func (f *Function) UZP1B(d, n, m *V) { f.native("VUZP1", "B16", false, d, n, m) }

// FABS clears the signs.
func (f *Function) FABS(d, n *V) { f.two(0x4ea0f800, "fabs", "4s", "4s", "", false, d, n) }

// UMAX: d = max(n, m), of uint32.
func (f *Function) UMAX(d, n, m *V) { f.native("VUMAX", "S4", false, d, n, m) }

// UMAXV: lane 0 of d is the largest uint32 of n, the other lanes 0.
func (f *Function) UMAXV(d, n *V) {
	f.add(1, func(r []int) string {
		return word(0x6eb0a800|uint32(r[1])<<5|uint32(r[0]), "umaxv s%d, v%d.4s", r[0], r[1])
	}, d, n)
}

// ADDV: lane 0 of d is the sum of n's int32, the other lanes 0.
func (f *Function) ADDV(d, n *V) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VADDV V%d.S4, V%d", r[1], r[0]) }, d, n)
}

// FDIVS: d = n/m in lane 0.
func (f *Function) FDIVS(d, n, m *V) { f.scalar("FDIVS F%[3]d, F%[2]d, F%[1]d", d, n, m) }

// Lane broadcasts a lane of n.
func (f *Function) Lane(d, n *V, lane int) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VDUP V%d.S[%d], V%d.S4", r[1], lane, r[0]) }, d, n)
}

// Move copies lane 0 of n to a general register.
func (f *Function) Move(r R, n *V) {
	f.add(0, func(regs []int) string { return fmt.Sprintf("VMOV V%d.S[0], %s", regs[0], r) }, n)
}

// LoadHalf loads 16 bits from base + offset, an even number of bytes; the rest of d becomes 0.
func (f *Function) LoadHalf(d *V, base R, offset int) {
	f.add(1, func(r []int) string {
		code := 0x7d400000 | uint32(offset/2)<<10 | uint32(base)<<5 | uint32(r[0])
		if offset == 0 {
			return word(code, "ldr h%d, [x%d]", r[0], base)
		}
		return word(code, "ldr h%d, [x%d, #%d]", r[0], base, offset)
	}, d)
}

// Bytes loads a constant of 16 bytes, or one byte for every lane, into d.
func (f *Function) Bytes(d *V, values ...byte) {
	if len(values) == 1 { // in every lane
		f.add(1, func(r []int) string { return fmt.Sprintf("VMOVI $%d, V%d.B16", values[0], r[0]) }, d)
		return
	}
	words := make([]uint32, 4)
	name := "bytes"
	for i, v := range values {
		words[i/4] |= uint32(v) << (8 * (i % 4))
		name += fmt.Sprintf("_%x", v)
	}
	f.file.Constant(name, words...)
	if f.constant == nil {
		r := f.Reg()
		f.constant = &r
	}
	f.Op("MOVD $%s<>(SB), %s", name, *f.constant)
	f.Load(Four, d, *f.constant, 0)
}
