package arm64

import "fmt"

// word is an encoded instruction with its text.
func word(code uint32, format string, args ...any) string {
	return fmt.Sprintf("WORD $0x%08x // %s", code, fmt.Sprintf(format, args...))
}

// three adds an instruction of three vectors that Go's assembler lacks. code is that of registers 0.
func (f *Function) three(code uint32, name, shape, source string, reads bool, d, n, m *V) {
	writes := 1
	vectors := []*V{d, n, m}
	if reads {
		writes = 0
	}
	f.add(writes, func(r []int) string {
		return word(code|uint32(r[2])<<16|uint32(r[1])<<5|uint32(r[0]), "%s v%d.%s, v%d.%s, v%d.%s", name, r[0], shape, r[1], source, r[2], source)
	}, vectors...)
}

// two adds an instruction of two vectors that Go's assembler lacks.
func (f *Function) two(code uint32, name, shape, source, rest string, reads bool, d, n *V) {
	writes := 1
	if reads {
		writes = 0
	}
	f.add(writes, func(r []int) string {
		return word(code|uint32(r[1])<<5|uint32(r[0]), "%s v%d.%s, v%d.%s%s", name, r[0], shape, r[1], source, rest)
	}, d, n)
}

// native adds an instruction of three vectors that Go's assembler has.
func (f *Function) native(name, shape string, reads bool, d, n, m *V) {
	writes := 1
	if reads {
		writes = 0
	}
	f.add(writes, func(r []int) string {
		return fmt.Sprintf("%s V%d.%s, V%d.%s, V%d.%s", name, r[2], shape, r[1], shape, r[0], shape)
	}, d, n, m)
}

// Arithmetic on four float32 values.

// FADD: d = n + m.
func (f *Function) FADD(d, n, m *V) { f.three(0x4e20d400, "fadd", "4s", "4s", false, d, n, m) }

// FSUB: d = n - m.
func (f *Function) FSUB(d, n, m *V) { f.three(0x4ea0d400, "fsub", "4s", "4s", false, d, n, m) }

// FMUL: d = n·m.
func (f *Function) FMUL(d, n, m *V) { f.three(0x6e20dc00, "fmul", "4s", "4s", false, d, n, m) }

// FDIV: d = n/m.
func (f *Function) FDIV(d, n, m *V) { f.three(0x6e20fc00, "fdiv", "4s", "4s", false, d, n, m) }

// FMAX: d = max(n, m), NaN if one is.
func (f *Function) FMAX(d, n, m *V) { f.three(0x4e20f400, "fmax", "4s", "4s", false, d, n, m) }

// FMIN: d = min(n, m), NaN if one is.
func (f *Function) FMIN(d, n, m *V) { f.three(0x4ea0f400, "fmin", "4s", "4s", false, d, n, m) }

// FMAXNM: d = max(n, m), the other one if one is NaN.
func (f *Function) FMAXNM(d, n, m *V) { f.three(0x4e20c400, "fmaxnm", "4s", "4s", false, d, n, m) }

// FCMGT: d = all ones where n > m, else 0.
func (f *Function) FCMGT(d, n, m *V) { f.three(0x6ea0e400, "fcmgt", "4s", "4s", false, d, n, m) }

// FCMEQ: d = all ones where n = m, else 0: 0 where n is NaN.
func (f *Function) FCMEQ(d, n, m *V) { f.three(0x4e20e400, "fcmeq", "4s", "4s", false, d, n, m) }

// FADDP: the sums of neighbours, of n and then of m.
func (f *Function) FADDP(d, n, m *V) { f.three(0x6e20d400, "faddp", "4s", "4s", false, d, n, m) }

// FMLA: d += n·m, fused.
func (f *Function) FMLA(d, n, m *V) { f.native("VFMLA", "S4", true, d, n, m) }

// FMLS: d -= n·m, fused.
func (f *Function) FMLS(d, n, m *V) { f.native("VFMLS", "S4", true, d, n, m) }

// FMLALane: d += n·m[lane], fused.
func (f *Function) FMLALane(d, n, m *V, lane int) { f.lane(0x4f801000, "fmla", true, d, n, m, lane) }

// FMLSLane: d -= n·m[lane], fused.
func (f *Function) FMLSLane(d, n, m *V, lane int) { f.lane(0x4f805000, "fmls", true, d, n, m, lane) }

// FMULLane: d = n·m[lane].
func (f *Function) FMULLane(d, n, m *V, lane int) { f.lane(0x4f809000, "fmul", false, d, n, m, lane) }

func (f *Function) lane(code uint32, name string, reads bool, d, n, m *V, lane int) {
	writes := 1
	if reads {
		writes = 0
	}
	at := uint32(lane&1)<<21 | uint32(lane>>1)<<11
	f.add(writes, func(r []int) string {
		return word(code|at|uint32(r[2])<<16|uint32(r[1])<<5|uint32(r[0]), "%s v%d.4s, v%d.4s, v%d.s[%d]", name, r[0], r[1], r[2], lane)
	}, d, n, m)
}

// FNEG: d = -n.
func (f *Function) FNEG(d, n *V) { f.two(0x6ea0f800, "fneg", "4s", "4s", "", false, d, n) }

// FSQRT: d = √n.
func (f *Function) FSQRT(d, n *V) { f.two(0x6ea1f800, "fsqrt", "4s", "4s", "", false, d, n) }

// FRINTN: d = n rounded to an integer, ties to even.
func (f *Function) FRINTN(d, n *V) { f.two(0x4e218800, "frintn", "4s", "4s", "", false, d, n) }

// FCVTNS: d = n as int32, rounded to the nearest, ties to even.
func (f *Function) FCVTNS(d, n *V) { f.two(0x4e21a800, "fcvtns", "4s", "4s", "", false, d, n) }

// SCVTF: d = int32 n as float32.
func (f *Function) SCVTF(d, n *V) { f.two(0x4e21d800, "scvtf", "4s", "4s", "", false, d, n) }

// FADDPair: lane 0 of d is the sum of the first two lanes of n, the other lanes 0.
func (f *Function) FADDPair(d, n *V) {
	f.add(1, func(r []int) string {
		return word(0x7e30d800|uint32(r[1])<<5|uint32(r[0]), "faddp s%d, v%d.2s", r[0], r[1])
	}, d, n)
}

// FMAXNMV: lane 0 of d is the largest lane of n that is not NaN, the other lanes 0.
func (f *Function) FMAXNMV(d, n *V) {
	f.add(1, func(r []int) string {
		return word(0x6e30c800|uint32(r[1])<<5|uint32(r[0]), "fmaxnmv s%d, v%d.4s", r[0], r[1])
	}, d, n)
}

// Scalars: lane 0, the other lanes of d become 0.

// FADDS: d = n + m in lane 0.
func (f *Function) FADDS(d, n, m *V) { f.scalar("FADDS F%[3]d, F%[2]d, F%[1]d", d, n, m) }

// FMULS: d = n·m in lane 0.
func (f *Function) FMULS(d, n, m *V) { f.scalar("FMULS F%[3]d, F%[2]d, F%[1]d", d, n, m) }

// FMAXNMS: d = max(n, m) in lane 0, the other one if one is NaN.
func (f *Function) FMAXNMS(d, n, m *V) { f.scalar("FMAXNMS F%[3]d, F%[2]d, F%[1]d", d, n, m) }

// FMADDS: d = a + n·m in lane 0, fused.
func (f *Function) FMADDS(d, a, n, m *V) {
	f.scalar("FMADDS F%[4]d, F%[2]d, F%[3]d, F%[1]d", d, a, n, m)
}

func (f *Function) scalar(format string, vectors ...*V) {
	f.add(1, func(r []int) string {
		args := make([]any, len(r))
		for i := range r {
			args[i] = r[i]
		}
		return fmt.Sprintf(format, args...)
	}, vectors...)
}

// Bits and integers.

// Zero: d = 0.
func (f *Function) Zero(d *V) {
	f.add(1, func(r []int) string { return word(0x6f00e400|uint32(r[0]), "movi v%d.2d, #0x0", r[0]) }, d)
}

// Ones: every bit of d is 1.
func (f *Function) Ones(d *V) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VMOVI $255, V%d.B16", r[0]) }, d)
}

// Copy: d = n.
func (f *Function) Copy(d, n *V) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VMOV V%d.B16, V%d.B16", r[1], r[0]) }, d, n)
}

// AND: d = n & m.
func (f *Function) AND(d, n, m *V) { f.native("VAND", "B16", false, d, n, m) }

// ORR: d = n | m.
func (f *Function) ORR(d, n, m *V) { f.native("VORR", "B16", false, d, n, m) }

// BIC: d = n &^ m.
func (f *Function) BIC(d, n, m *V) { f.three(0x4e601c00, "bic", "16b", "16b", false, d, n, m) }

// BSL: d = n where d's bits are 1, else m.
func (f *Function) BSL(d, n, m *V) { f.native("VBSL", "B16", true, d, n, m) }

// ADD: d = n + m, of int32.
func (f *Function) ADD(d, n, m *V) { f.native("VADD", "S4", false, d, n, m) }

// CMEQ: d = all ones where the int32 n and m are equal, else 0.
func (f *Function) CMEQ(d, n, m *V) { f.native("VCMEQ", "S4", false, d, n, m) }

// SHL: d = n << bits, of int32.
func (f *Function) SHL(d, n *V, bits int) { f.shift("VSHL", d, n, bits) }

// USHR: d = n >> bits, of uint32.
func (f *Function) USHR(d, n *V, bits int) { f.shift("VUSHR", d, n, bits) }

func (f *Function) shift(name string, d, n *V, bits int) {
	f.add(1, func(r []int) string { return fmt.Sprintf("%s $%d, V%d.S4, V%d.S4", name, bits, r[1], r[0]) }, d, n)
}

// Interleaving of float32 values.

// TRN1 takes the even lanes of n and m in turn.
func (f *Function) TRN1(d, n, m *V) { f.native("VTRN1", "S4", false, d, n, m) }

// TRN2 takes the odd lanes of n and m in turn.
func (f *Function) TRN2(d, n, m *V) { f.native("VTRN2", "S4", false, d, n, m) }

// ZIP1D takes the low halves of n and m.
func (f *Function) ZIP1D(d, n, m *V) { f.native("VZIP1", "D2", false, d, n, m) }

// ZIP2D takes the high halves of n and m.
func (f *Function) ZIP2D(d, n, m *V) { f.native("VZIP2", "D2", false, d, n, m) }

// High: the low half of d is the high half of n.
func (f *Function) High(d, n *V) {
	f.add(1, func(r []int) string { return fmt.Sprintf("VDUP V%d.D[1], V%d.D2", r[1], r[0]) }, d, n)
}

// Conversions of 16 bits.

// BF16Low: d = the four lower bf16 values of n.
func (f *Function) BF16Low(d, n *V) { f.two(0x2e613800, "shll", "4s", "4h", ", #16", false, d, n) }

// BF16High: d = the four upper bf16 values of n.
func (f *Function) BF16High(d, n *V) { f.two(0x6e613800, "shll2", "4s", "8h", ", #16", false, d, n) }

// FCVTL: d = the four lower f16 values of n.
func (f *Function) FCVTL(d, n *V) { f.two(0x0e217800, "fcvtl", "4s", "4h", "", false, d, n) }

// FCVTL2: d = the four upper f16 values of n.
func (f *Function) FCVTL2(d, n *V) { f.two(0x4e217800, "fcvtl2", "4s", "8h", "", false, d, n) }

// FCVTN: the lower half of d is n in f16, rounded to the nearest, ties to even; the upper half 0.
func (f *Function) FCVTN(d, n *V) { f.two(0x0e216800, "fcvtn", "4h", "4s", "", false, d, n) }

// FCVTN2: the upper half of d is n in f16.
func (f *Function) FCVTN2(d, n *V) { f.two(0x4e216800, "fcvtn2", "8h", "4s", "", true, d, n) }

// SHRN16: the lower half of d are the upper 16 bits of n's lanes; the upper half 0.
func (f *Function) SHRN16(d, n *V) { f.two(0x0f108400, "shrn", "4h", "4s", ", #16", false, d, n) }

// SHRN16High: the upper half of d are the upper 16 bits of n's lanes.
func (f *Function) SHRN16High(d, n *V) { f.two(0x4f108400, "shrn2", "8h", "4s", ", #16", true, d, n) }
