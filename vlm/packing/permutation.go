package packing

import (
	"math/bits"
	"math/rand/v2"
)

// Permutation returns 0 to n-1 in random order: a Fisher-Yates shuffle from the end, with the
// high word of (i+1) times the next number of a PCG seeded with (seed, epoch<<32 | stream). It
// does not use rand.Shuffle, whose algorithm may change: resumed runs rely on the order.
func Permutation(n int, seed uint64, epoch int, stream uint32) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	random := rand.NewPCG(seed, uint64(epoch)<<32|uint64(stream))
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(random.Uint64(), uint64(i)+1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}
