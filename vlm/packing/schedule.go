package packing

import (
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Schedule is the order in which a data set is trained on and packed. It is a function of
// the fields, the epoch and the samples' lengths alone.
type Schedule struct {
	Seed     uint64
	Shuffle  bool // false keeps the order of rows and batches
	PoolSize int  // samples that are packed together
	RowLen   int  // tokens
	MaxBatch int  // rows per batch
}

// Epoch yields the batches of an epoch, each as rows of samples, from batch skip on; a run
// that consumed n batches resumes with skip = n. samples returns the samples of a row of
// the data set, which has rows rows. It is called for skipped rows too, since packing
// depends on their lengths, so it should not decode images. Its error ends the sequence.
// Samples must not be longer than RowLen (see Sampler).
func (s Schedule) Epoch(epoch, rows, skip int, samples func(row int) ([]*Sample, error)) iter.Seq2[[][]*Sample, error] {
	return func(yield func([][]*Sample, error) bool) {
		if err := s.check(); err != nil {
			yield(nil, err)
			return
		}
		for pool, err := range s.pools(epoch, rows, samples) {
			if err != nil {
				yield(nil, err)
				return
			}
			batches := s.batches(epoch, pool)
			for _, b := range batches[min(skip, len(batches)):] {
				if !yield(b, nil) {
					return
				}
			}
			skip = max(0, skip-len(batches))
		}
	}
}

func (s Schedule) check() error {
	if s.PoolSize < 1 || s.RowLen < 1 || s.MaxBatch < 1 {
		return &ModeError{fmt.Sprintf("pool size %d, row length %d and batch size %d must be positive", s.PoolSize, s.RowLen, s.MaxBatch)}
	}
	return nil
}

// pool is up to PoolSize samples that are packed together.
type pool struct {
	number  int
	samples []*Sample
}

func (s Schedule) pools(epoch, rows int, samples func(int) ([]*Sample, error)) iter.Seq2[pool, error] {
	return func(yield func(pool, error) bool) {
		p := pool{}
		for _, row := range s.order(rows, epoch, 0) {
			list, err := samples(row)
			if err != nil {
				yield(p, err)
				return
			}
			for _, sample := range list {
				if p.samples = append(p.samples, sample); len(p.samples) < s.PoolSize {
					continue
				}
				if !yield(p, nil) {
					return
				}
				p = pool{number: p.number + 1}
			}
		}
		if len(p.samples) > 0 {
			yield(p, nil)
		}
	}
}

// batches packs a pool into rows and groups them into batches of MaxBatch rows; the last
// one may be shorter.
func (s Schedule) batches(epoch int, p pool) [][][]*Sample {
	all, lengths := make([]int, len(p.samples)), make([]int, len(p.samples))
	for i, sample := range p.samples {
		all[i], lengths[i] = i, sample.Len()
	}
	packed := slices.Collect(slices.Chunk(firstFit(all, lengths, s.RowLen), s.MaxBatch))
	var out [][][]*Sample
	for _, i := range s.order(len(packed), epoch, uint64(p.number)+1) {
		var rows [][]*Sample
		for _, numbers := range packed[i] {
			var row []*Sample
			for _, n := range numbers {
				row = append(row, p.samples[n])
			}
			rows = append(rows, row)
		}
		out = append(out, rows)
	}
	return out
}

// order returns 0 to n-1, shuffled if Shuffle is set: a Fisher-Yates shuffle from the end,
// with the high word of (i+1) times the next number of a PCG seeded with
// (Seed, epoch<<32 | stream). Stream 0 orders the data set, stream 1+k the batches of
// pool k. It does not use rand.Shuffle, whose algorithm may change.
func (s Schedule) order(n, epoch int, stream uint64) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	if !s.Shuffle {
		return out
	}
	random := rand.NewPCG(s.Seed, uint64(epoch)<<32|stream)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(random.Uint64(), uint64(i)+1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}
