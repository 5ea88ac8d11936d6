package packing

import (
	"fmt"
	"slices"
)

// Schedule packs the samples of an epoch, in their order, into rows and the rows into batches.
// It is a function of the fields, the epoch and the samples' lengths alone.
type Schedule struct {
	Seed     uint64
	Shuffle  bool // false keeps the order of the batches
	PoolSize int  // samples that are packed together
	RowLen   int  // tokens
	MaxBatch int  // rows per batch; 1 shuffles single rows
}

// Check returns a *ModeError if a size is not positive.
func (s Schedule) Check() error {
	if s.PoolSize < 1 || s.RowLen < 1 || s.MaxBatch < 1 {
		return &ModeError{fmt.Sprintf("pool size %d, row length %d and batch size %d must be positive", s.PoolSize, s.RowLen, s.MaxBatch)}
	}
	return nil
}

// Pack packs pool number pool of an epoch: samples of the given lengths, each at most RowLen. It
// returns batches of rows of indices into lengths. The last batch of a pool may be short.
func (s Schedule) Pack(epoch, pool int, lengths []int) [][][]int {
	all := make([]int, len(lengths))
	for i := range all {
		all[i] = i
	}
	packed := slices.Collect(slices.Chunk(firstFit(all, lengths, s.RowLen), s.MaxBatch))
	if !s.Shuffle {
		return packed
	}
	shuffled := make([][][]int, len(packed))
	for i, k := range Permutation(len(packed), s.Seed, epoch, uint32(pool)+1) {
		shuffled[i] = packed[k]
	}
	return shuffled
}
