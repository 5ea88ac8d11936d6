package packing

import (
	"cmp"
	"slices"
)

// Packing says where samples went, by their numbers.
type Packing struct {
	Batches [][][]int // batches of rows of samples
	Skipped []int     // longer than a row
}

// Pack packs samples of the given lengths, in tokens, into rows of rowLen.
// Each poolSize of them that fit a row are a pool. A pool is sorted by length,
// longest first and otherwise in order; each sample goes into the first row, in
// order of opening, that has room. The rows go out in order, maxBatch to a batch;
// a pool's last batch may be short.
func Pack(lengths []int, poolSize, rowLen, maxBatch int) Packing {
	var p Packing
	var pool []int
	flush := func() {
		p.Batches = slices.AppendSeq(p.Batches, slices.Chunk(firstFit(pool, lengths, rowLen), maxBatch))
		pool = pool[:0]
	}
	for sample, length := range lengths {
		if length > rowLen {
			p.Skipped = append(p.Skipped, sample)
			continue
		}
		if pool = append(pool, sample); len(pool) == poolSize {
			flush()
		}
	}
	flush()
	return p
}

// firstFit packs one pool into rows.
func firstFit(pool, lengths []int, rowLen int) [][]int {
	longest := slices.Clone(pool)
	slices.SortStableFunc(longest, func(a, b int) int { return cmp.Compare(lengths[b], lengths[a]) })
	var rows [][]int
	var room []int
	for _, sample := range longest {
		r := slices.IndexFunc(room, func(free int) bool { return free >= lengths[sample] })
		if r < 0 {
			r = len(rows)
			rows, room = append(rows, nil), append(room, rowLen)
		}
		rows[r] = append(rows[r], sample)
		room[r] -= lengths[sample]
	}
	return rows
}
