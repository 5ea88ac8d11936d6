package data

import (
	"iter"
	"math"
	"slices"
	"sort"

	"patchwork/vlm/packing"
)

// Shuffle is how the rows of an epoch are mixed.
type Shuffle struct {
	Seed   uint64
	Buffer int   // rows that are mixed with each other; 0 keeps the order of the files, AllRows mixes all
	Bytes  int64 // limit of the buffer in decompressed bytes; 0 = none
}

// AllRows as Shuffle.Buffer is a permutation of the whole data set.
const AllRows = math.MaxInt

// Streams of random numbers of packing.Permutation. Stream 0 orders the rows of the first
// window, which is the whole epoch of a small data set, and streams from 1 on a pool's rows.
const (
	groupStream  = 1 << 31     // the order of the row groups
	windowStream = groupStream // + k: the rows of window k, from 1
)

// An Order is the order in which an epoch reads the rows of a data set. It depends on the
// footers of the files, the rows that are used, the shuffle and the epoch alone: neither on
// what the rows contain nor on who reads them.
//
// Row groups are taken in random order. As many as fill the shuffle buffer make a window, whose
// rows are permuted. So each group is read once, and what is held in memory is bounded.
type Order struct {
	d       *Dataset
	rows    *RowSet
	shuffle Shuffle
	epoch   int
	windows []window
	n       int
}

// A window is row groups whose rows are mixed.
type window struct {
	groups []int // in the order of reading
	first  int   // position of its first row in the epoch
	rows   int
	bytes  int64 // of the rows that are used
}

// Order returns the order of an epoch over the given rows.
func (d *Dataset) Order(rows *RowSet, s Shuffle, epoch int) *Order {
	o := &Order{d: d, rows: rows, shuffle: s, epoch: epoch}
	var groups []int
	used := make([]int, len(d.groups)) // rows of each group
	for k, g := range d.groups {
		for i := g.first; i < g.first+g.rows; i++ {
			if rows.Has(i) {
				used[k]++
			}
		}
		if used[k] > 0 {
			groups = append(groups, k)
		}
	}
	if s.Buffer > 0 {
		shuffled := make([]int, len(groups))
		for i, k := range packing.Permutation(len(groups), s.Seed, epoch, groupStream) {
			shuffled[i] = groups[k]
		}
		groups = shuffled
	}
	o.divide(groups, used)
	return o
}

// divide makes windows of about equal size, none of them larger than the shuffle buffer by more
// than a group.
func (o *Order) divide(groups, used []int) {
	size := func(k int) float64 { // of a group, relative to the buffer
		if o.shuffle.Buffer == 0 {
			return 1
		}
		rows := float64(used[k]) / float64(o.shuffle.Buffer)
		if o.shuffle.Bytes == 0 || o.shuffle.Buffer == AllRows {
			return rows
		}
		return max(rows, float64(o.d.groups[k].usedBytes(used[k]))/float64(o.shuffle.Bytes))
	}
	total := 0.0
	for _, k := range groups {
		total += size(k)
	}
	const rounding = 1e-9
	windows := max(1, math.Ceil(total-rounding))
	filled := 0.0
	var w window
	for i, k := range groups {
		w.groups = append(w.groups, k)
		w.rows += used[k]
		w.bytes += o.d.groups[k].usedBytes(used[k])
		filled += size(k)
		if full := filled/total*windows >= float64(len(o.windows)+1)-rounding; full || i == len(groups)-1 {
			o.windows, w = append(o.windows, w), window{first: w.first + w.rows}
		}
	}
	o.n = w.first
}

// rowOverhead is the memory of a row besides its values, in bytes.
const rowOverhead = 200

// usedBytes estimates the memory of n rows of a group.
func (g *group) usedBytes(n int) int64 {
	if g.rows == 0 {
		return 0
	}
	return int64(float64(g.bytes)*float64(n)/float64(g.rows)) + rowOverhead*int64(n)
}

// Len returns the number of rows in the epoch.
func (o *Order) Len() int { return o.n }

// windowAt returns the index of the window with the row at a position, len(o.windows) at the end.
func (o *Order) windowAt(position int) int {
	if position >= o.n {
		return len(o.windows)
	}
	return sort.Search(len(o.windows), func(k int) bool { return o.windows[k].first > position }) - 1
}

// rowsOf returns the rows of a window in the order of the epoch.
func (o *Order) rowsOf(k int) []int {
	groups := o.windows[k].groups
	if o.shuffle.Buffer > 0 {
		groups = slices.Sorted(slices.Values(groups))
	}
	var rows []int
	for _, g := range groups {
		for i := o.d.groups[g].first; i < o.d.groups[g].first+o.d.groups[g].rows; i++ {
			if o.rows.Has(i) {
				rows = append(rows, i)
			}
		}
	}
	if o.shuffle.Buffer == 0 {
		return rows
	}
	stream := uint32(0)
	if k > 0 {
		stream = windowStream + uint32(k)
	}
	mixed := make([]int, len(rows))
	for i, j := range packing.Permutation(len(rows), o.shuffle.Seed, o.epoch, stream) {
		mixed[i] = rows[j]
	}
	return mixed
}

// From yields the numbers of the rows from a position on.
func (o *Order) From(position int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for k := o.windowAt(position); k < len(o.windows); k++ {
			for i, row := range o.rowsOf(k) {
				if o.windows[k].first+i >= position && !yield(row) {
					return
				}
			}
		}
	}
}

// Mixing tells how far a shuffled order moves rows apart.
type Mixing struct {
	Windows int
	Rows    int   // of the largest window
	Groups  int   // row groups of the largest window
	Bytes   int64 // memory of the largest window
	Median  int   // distance, in rows, of two rows that were neighbours in a file
}

// mixingRows limits the rows that Mixing looks at.
const mixingRows = 200_000

// Mixing measures the order of the first windows.
func (o *Order) Mixing() Mixing {
	m := Mixing{Windows: len(o.windows)}
	position := map[int]int{}
	for k, w := range o.windows {
		if w.rows > m.Rows {
			m.Rows, m.Groups = w.rows, len(w.groups)
		}
		m.Bytes = max(m.Bytes, w.bytes)
		if len(position) < mixingRows {
			for i, row := range o.rowsOf(k) {
				position[row] = w.first + i
			}
		}
	}
	var apart []int
	for row, at := range position {
		if next, ok := position[row+1]; ok {
			apart = append(apart, max(next-at, at-next))
		}
	}
	if len(apart) > 0 {
		slices.Sort(apart)
		m.Median = apart[len(apart)/2]
	}
	return m
}
