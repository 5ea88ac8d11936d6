package packing

import (
	"cmp"
	"slices"
)

// firstFit packs samples into rows of rowLen tokens, the knapsacks, by first-fit decreasing:
// the longest sample first, equal ones in order, each into the first row with enough space.
func firstFit(pool, lengths []int, rowLen int) [][]int {
	longestFirst := slices.Clone(pool)
	slices.SortStableFunc(longestFirst, func(a, b int) int { return cmp.Compare(lengths[b], lengths[a]) })
	var rows [][]int
	var free []int // tokens left in each row
	for _, sample := range longestFirst {
		r := slices.IndexFunc(free, func(n int) bool { return n >= lengths[sample] })
		if r < 0 {
			r = len(rows)
			rows, free = append(rows, nil), append(free, rowLen)
		}
		rows[r] = append(rows[r], sample)
		free[r] -= lengths[sample]
	}
	return rows
}
