package wasm

// simd is the opcode of a vector instruction.
func simd(op uint32) []byte { return join([]byte{0xfd}, unsigned(op)) }

func (x V128) op1(op uint32) V128         { return join(x, simd(op)) }
func (x V128) op2(op uint32, y V128) V128 { return join(x, y, simd(op)) }
func (x V128) shift(op uint32, n int) V128 {
	if n == 0 {
		return x
	}
	return join(x, Int(n), simd(op))
}

// Loads of 16 bytes, of a part that is widened, repeated or followed by zeros, and of one lane.

func (p I32) Load(n int) V128       { return join(p, simd(0x00), at(n)) }
func (p I32) Load16x4U(n int) V128  { return join(p, simd(0x04), at(n)) }
func (p I32) LoadSplat(n int) V128  { return join(p, simd(0x09), at(n)) } // of 32 bits
func (p I32) Load32Zero(n int) V128 { return join(p, simd(0x5c), at(n)) }
func (p I32) Load64Zero(n int) V128 { return join(p, simd(0x5d), at(n)) }
func (x V128) Load16Lane(p I32, n, lane int) V128 {
	return join(p, x, simd(0x55), at(n), []byte{byte(lane)})
}
func (x V128) Load32Lane(p I32, n, lane int) V128 {
	return join(p, x, simd(0x56), at(n), []byte{byte(lane)})
}

// Shuffle takes bytes of x by the numbers 0 to 15, of y by 16 to 31.
func (x V128) Shuffle(y V128, bytes [16]byte) V128 { return join(x, y, simd(0x0d), bytes[:]) }

// Words takes 32-bit lanes of x by the numbers 0 to 3, of y by 4 to 7.
func (x V128) Words(y V128, lanes [4]byte) V128 {
	var bytes [16]byte
	for i := range bytes {
		bytes[i] = 4*lanes[i/4] + byte(i%4)
	}
	return x.Shuffle(y, bytes)
}

func (x V128) I32x4ReplaceLane(lane int, y I32) V128 {
	return join(x, y, simd(0x1c), []byte{byte(lane)})
}
func (x V128) F32x4ExtractLane(lane int) F32 { return join(x, simd(0x1f), []byte{byte(lane)}) }

func (x V128) And(y V128) V128             { return x.op2(0x4e, y) }
func (x V128) AndNot(y V128) V128          { return x.op2(0x4f, y) }
func (x V128) Or(y V128) V128              { return x.op2(0x50, y) }
func (x V128) Bitselect(y, mask V128) V128 { return join(x, y, mask, simd(0x52)) } // x where mask is set

func (x V128) I8x16Eq(y V128) V128  { return x.op2(0x23, y) }
func (x V128) I8x16Sub(y V128) V128 { return x.op2(0x71, y) }

func (x V128) I16x8ExtendLowS() V128  { return x.op1(0x87) }
func (x V128) I16x8ExtendHighS() V128 { return x.op1(0x88) }
func (x V128) I16x8ExtendLowU() V128  { return x.op1(0x89) }
func (x V128) I16x8ExtendHighU() V128 { return x.op1(0x8a) }
func (x V128) I16x8Shl(n int) V128    { return x.shift(0x8b, n) }
func (x V128) I16x8ShrS(n int) V128   { return x.shift(0x8c, n) }
func (x V128) I16x8ShrU(n int) V128   { return x.shift(0x8d, n) }
func (x V128) I16x8Add(y V128) V128   { return x.op2(0x8e, y) }

func (x V128) I32x4ExtaddPairwiseI16x8S() V128 { return x.op1(0x7e) }
func (x V128) I32x4ExtendLowS() V128           { return x.op1(0xa7) }
func (x V128) I32x4ExtendHighS() V128          { return x.op1(0xa8) }
func (x V128) I32x4ExtendLowU() V128           { return x.op1(0xa9) }
func (x V128) I32x4ExtendHighU() V128          { return x.op1(0xaa) }
func (x V128) I32x4Shl(n int) V128             { return x.shift(0xab, n) }
func (x V128) I32x4ShrS(n int) V128            { return x.shift(0xac, n) }
func (x V128) I32x4Add(y V128) V128            { return x.op2(0xae, y) }
func (x V128) I32x4DotI16x8S(y V128) V128      { return x.op2(0xba, y) }

// I16x8RelaxedDot is, in words, the sums of the products of each two signed bytes of x and bytes of y, at
// most 127. It is in relaxed SIMD only. (The instruction that adds each four in 32 bits gives wrong sums
// in V8 11.3.)
func (x V128) I16x8RelaxedDot(y V128) V128 { return x.op2(0x112, y) }

func (x V128) F32x4Lt(y V128) V128       { return x.op2(0x43, y) }
func (x V128) F32x4Gt(y V128) V128       { return x.op2(0x44, y) }
func (x V128) F32x4Ge(y V128) V128       { return x.op2(0x46, y) }
func (x V128) F32x4Nearest() V128        { return x.op1(0x6a) }
func (x V128) F32x4Abs() V128            { return x.op1(0xe0) }
func (x V128) F32x4Neg() V128            { return x.op1(0xe1) }
func (x V128) F32x4Add(y V128) V128      { return x.op2(0xe4, y) }
func (x V128) F32x4Sub(y V128) V128      { return x.op2(0xe5, y) }
func (x V128) F32x4Mul(y V128) V128      { return x.op2(0xe6, y) }
func (x V128) F32x4Div(y V128) V128      { return x.op2(0xe7, y) }
func (x V128) F32x4Pmax(y V128) V128     { return x.op2(0xeb, y) } // y where x < y
func (x V128) I32x4TruncSatF32x4S() V128 { return x.op1(0xf8) }
func (x V128) F32x4ConvertI32x4S() V128  { return x.op1(0xfa) }
