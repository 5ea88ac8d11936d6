package quant

import (
	"encoding/binary"
	"math/rand/v2"

	"patchwork/shaders/half"
)

// scales are the offsets of a block's F16 scales, for Random.
var scales = map[Format][]int{
	Q8_0: {0}, Q4_0: {0}, Q4_1: {0, 2}, Q5_0: {0}, Q5_1: {0, 2}, Q4_K: {0, 2}, Q5_K: {0, 2}, Q6_K: {208},
}

// Random returns n blocks of random bytes with normally distributed scales of either sign,
// around the size of a weight's. It is for tests and benchmarks.
func Random(f Format, n int, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, uint64(f)))
	_, size := f.Block()
	data := make([]byte, n*size)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for ; n > 0; n-- {
		block := data[(n-1)*size:]
		for _, at := range scales[f] {
			binary.LittleEndian.PutUint16(block[at:], half.ToF16(float32(random.NormFloat64()/200)))
		}
	}
	return data
}
