package data

import (
	"context"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Streamed is a row of a Stream.
type Streamed struct {
	Row
	Number int   // of the row in the data set
	Owner  int   // the reader that has the row
	Mine   bool  // false: another reader has the row, only Number and Owner are set
	Err    error // the *DataError of a damaged row group
}

// Readers divides the row groups of an order among readers. Together they read each group
// once.
type Readers struct {
	Number, Count int // 0 and 1: this one reads everything
}

// owner returns the reader of the group at a position of the order.
func (r Readers) owner(position int) int { return position % max(1, r.Count) }

// readAhead is the memory for the rows of the next window, as a fraction of a window's, if that
// is more than its largest group.
const readAhead = 0.1

// largeWindow is the memory of a window, in bytes, from which garbage is collected more often.
const largeWindow = 128 << 20

// groupReaders is the number of row groups that are decoded at once.
const groupReaders = 2

// prefetchGroups is the number of row groups that a file which is not on disk is told of before
// there is memory for them.
const prefetchGroups = 2

// Stream yields the rows of an order from a position on. Row groups are read ahead in
// goroutines, which end with the loop; the rows held at a time take at most the memory of a
// window and a tenth, or a window and a group. Damaged row groups yield rows with Err; an error ends the stream.
func (o *Order) Stream(ctx context.Context, from int, readers Readers) iter.Seq2[Streamed, error] {
	return func(yield func(Streamed, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		s := &stream{o: o, readers: readers, from: from, groups: map[int]*streamedGroup{}}
		ahead, first := s.plan()
		if s.bytes > largeWindow { // the default lets garbage grow to the size of the window
			frequentGC.begin()
			defer frequentGC.end()
		}
		var done sync.WaitGroup
		done.Go(func() { s.read(ctx, ahead) })
		defer done.Wait()
		defer cancel()
		for k := first; k < len(o.windows); k++ {
			for i, row := range o.rowsOf(k) {
				if o.windows[k].first+i < from {
					continue
				}
				item, err := s.row(ctx, row)
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

// stream is a Stream in progress.
type stream struct {
	o       *Order
	readers Readers
	from    int
	groups  map[int]*streamedGroup // the planned ones, by number
	memory  *semaphore.Weighted
	bytes   int64 // that memory admits
}

// streamedGroup is a row group that is read by a stream.
type streamedGroup struct {
	number int
	needed map[int]bool // rows still to be yielded, by their index in the group; nil: all that are used
	owner  int
	cost   int64 // bytes of memory
	left   int   // rows still to be yielded

	ready chan struct{} // closed when rows and err are set
	rows  []Row
	err   error
}

// plan lists the groups to read, in order, and the window to begin with.
func (s *stream) plan() (ahead []*streamedGroup, first int) {
	o := s.o
	first = o.windowAt(s.from)
	position := 0 // of a group in the order
	var largest, largestGroup int64
	for k, w := range o.windows {
		for _, g := range w.groups {
			if k >= first {
				group := &streamedGroup{number: g, owner: s.readers.owner(position), ready: make(chan struct{})}
				ahead, s.groups[g] = append(ahead, group), group
			}
			position++
		}
		if k >= first {
			largest = max(largest, w.bytes)
		}
	}
	s.count(ahead, first)
	for _, group := range ahead {
		largestGroup = max(largestGroup, group.cost)
	}
	s.bytes = largest + max(int64(readAhead*float64(largest)), largestGroup) + 1
	s.memory = semaphore.NewWeighted(s.bytes)
	return ahead, first
}

// count sets the numbers of rows that the groups will yield, and their cost.
func (s *stream) count(ahead []*streamedGroup, first int) {
	o := s.o
	if first < len(o.windows) && s.from > o.windows[first].first { // some rows of this window are passed over
		for _, g := range o.windows[first].groups {
			s.groups[g].needed = map[int]bool{}
		}
		for _, row := range o.rowsOf(first)[s.from-o.windows[first].first:] {
			g := o.d.groupOf(row)
			s.groups[g].needed[row-o.d.groups[g].first] = true
		}
	}
	for _, group := range ahead {
		g := &o.d.groups[group.number]
		if group.needed != nil {
			group.left = len(group.needed)
		} else {
			for i := g.first; i < g.first+g.rows; i++ {
				if o.rows.Has(i) {
					group.left++
				}
			}
		}
		group.cost = g.usedBytes(group.left)
	}
}

// read reads the groups ahead of use, in order, as far as memory allows.
func (s *stream) read(ctx context.Context, ahead []*streamedGroup) {
	var reading errgroup.Group
	reading.SetLimit(groupReaders)
	defer reading.Wait()
	prefetched := 0
	for i, group := range ahead {
		if !s.reads(group) {
			close(group.ready)
			continue
		}
		for ; prefetched < len(ahead) && prefetched <= i+prefetchGroups*max(1, s.readers.Count); prefetched++ {
			if s.reads(ahead[prefetched]) {
				s.o.d.prefetch(&s.o.d.groups[ahead[prefetched].number])
			}
		}
		g := &s.o.d.groups[group.number]
		if s.memory.Acquire(ctx, group.cost) != nil {
			return
		}
		reading.Go(func() error {
			rows, err := s.o.d.readGroup(g, false)
			s.keep(group, rows)
			group.err = err
			close(group.ready)
			return nil
		})
	}
}

// reads reports whether the stream reads a group.
func (s *stream) reads(group *streamedGroup) bool {
	return group.owner == s.readers.Number && group.left > 0
}

// keep keeps the rows of a group that will be yielded.
func (s *stream) keep(group *streamedGroup, rows []Row) {
	first := s.o.d.groups[group.number].first
	for i := range rows {
		used := s.o.rows.Has(first + i)
		if group.needed != nil {
			used = group.needed[i]
		}
		if !used {
			rows[i] = Row{}
		}
	}
	group.rows = rows
}

// row returns a row, waits for its group, and frees its memory.
func (s *stream) row(ctx context.Context, number int) (Streamed, error) {
	k := s.o.d.groupOf(number)
	group, g := s.groups[k], &s.o.d.groups[k]
	if group.owner != s.readers.Number {
		return Streamed{Number: number, Owner: group.owner}, ctx.Err()
	}
	select {
	case <-group.ready:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return Streamed{}, ctx.Err()
	}
	out := Streamed{Number: number, Owner: group.owner, Mine: true}
	i := number - g.first
	if group.err != nil {
		out.Err = wrapRow(ctx, g, g.firstInFile+i, group.err)
		if _, damaged := Damaged(out.Err); !damaged {
			return Streamed{}, out.Err
		}
	} else {
		out.Row, group.rows[i] = group.rows[i], Row{}
	}
	share := group.cost / int64(group.left)
	group.cost -= share
	if group.left--; group.left == 0 {
		group.rows = nil
		delete(s.groups, k)
	}
	s.memory.Release(share)
	return out, nil
}

// prefetch tells the file of a group what will be read.
func (d *Dataset) prefetch(g *group) {
	_ = d.shards.use(d, g.number, func(s *shard) error { // reading the group returns the error
		s.prefetch(g)
		return nil
	})
}
