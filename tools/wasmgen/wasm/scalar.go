package wasm

// The methods are named as the instructions are in the specification, without the type of a scalar.

func (x I32) Add(y I32) I32    { return join(x, y, []byte{0x6a}) }
func (x I32) Sub(y I32) I32    { return join(x, y, []byte{0x6b}) }
func (x I32) Mul(y I32) I32    { return join(x, y, []byte{0x6c}) }
func (x I32) And(y I32) I32    { return join(x, y, []byte{0x71}) }
func (x I32) Or(y I32) I32     { return join(x, y, []byte{0x72}) }
func (x I32) Shl(n int) I32    { return join(x, Int(n), []byte{0x74}) }
func (x I32) ShrU(n int) I32   { return join(x, Int(n), []byte{0x76}) }
func (x I32) Eq(y I32) I32     { return join(x, y, []byte{0x46}) }
func (x I32) GtS(y I32) I32    { return join(x, y, []byte{0x4a}) }
func (x I32) GeS(y I32) I32    { return join(x, y, []byte{0x4e}) }
func (x F32) Ne(y F32) I32     { return join(x, y, []byte{0x5c}) }
func (x F32) Splat() V128      { return join(x, simd(0x13)) }
func (x I32) Splat() V128      { return join(x, simd(0x11)) }
func (p I32) Load32(n int) I32 { return join(p, []byte{0x28}, at(n)) }

// Select is x where c is not 0, else y.
func Select(x, y, c I32) I32 { return join(x, y, c, []byte{0x1b}) }

// at encodes an unaligned access n bytes after an address.
func at(n int) []byte { return join([]byte{0}, unsigned(uint32(n))) }
