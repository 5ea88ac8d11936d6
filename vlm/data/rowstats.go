package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"patchwork/vlm/packing"
)

// RowStats counts the rows of a data set that were seen, and those that cannot be
// used by reason. It is safe for concurrent use.
type RowStats struct {
	mu        sync.Mutex
	good, bad rowSet // by this process
	earlier   rowSet // bad ones that an earlier process has listed
	reasons   map[string]int
	counts    packing.Counts
	list      *BadRows // where skipped rows are written down; nil: nowhere
	warn      func(v Verdict)
}

// NewRowStats starts counting; warn, which may be nil, learns of every bad row once.
func NewRowStats(warn func(v Verdict)) *RowStats {
	return &RowStats{reasons: map[string]int{}, warn: warn}
}

// ListTo writes skipped rows down from here on, and counts those of the data set
// that are listed already. They say nothing of the share of bad rows: how many good
// ones there were beside them is not known.
func (s *RowStats) ListTo(list *BadRows, d *Dataset) {
	s.list = list
	for _, row := range list.earlier {
		if i, ok := d.Index(row.File, row.Row); ok && s.earlier.add(i) {
			s.count(row.Reason)
		}
	}
}

// minRows is how many rows are seen before the share of bad ones is judged.
const minRows = 100

// Encoded counts what became of a row's text. A row of which nothing fits is a bad one.
func (s *RowStats) Encoded(i int, row Row, c packing.Counts, rowLen int) {
	s.mu.Lock()
	s.counts.Add(c)
	s.mu.Unlock()
	v := Verdict{File: row.File, Row: row.Index, Status: Use}
	if c.Skipped > 0 {
		v.Status, v.Reason = Skip, TooLong(rowLen)
	}
	s.Record(i, v)
}

// TooLong is why a row is skipped of which nothing fits a row of training.
func TooLong(rowLen int) string { return fmt.Sprintf("no turn fits a row of %d tokens", rowLen) }

// Record counts a row by its verdict.
func (s *RowStats) Record(i int, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.Status == Use {
		if !s.bad.has(i) {
			s.good.add(i)
		}
		return
	}
	if !s.bad.add(i) {
		return
	}
	s.good.remove(i)
	if !s.earlier.has(i) {
		s.count(v.Reason)
	}
	if s.list != nil {
		s.list.add(BadRow{v.File, v.Row, v.Reason})
	}
	if s.warn != nil {
		s.warn(v)
	}
}

// maxReasons bounds the reasons that are told apart.
const maxReasons = 1000

func (s *RowStats) count(reason string) {
	short := ShortReason(reason)
	if _, known := s.reasons[short]; !known && len(s.reasons) >= maxReasons {
		short = "other reasons"
	}
	s.reasons[short]++
}

// BadRowsError says that too many rows cannot be used.
type BadRowsError struct {
	Bad, Seen int
	Max       float64
	Reasons   string
}

func (e *BadRowsError) Error() string {
	return fmt.Sprintf("%d of %d data rows cannot be used (%s), more than --max-bad-fraction %g", e.Bad, e.Seen, e.Reasons, e.Max)
}

// Check judges the share of bad rows once enough were seen, or at the end.
func (s *RowStats) Check(most float64, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.good.n + s.bad.n
	if seen == 0 || !end && seen < minRows || float64(s.bad.n) <= most*float64(seen) {
		return nil
	}
	return &BadRowsError{s.bad.n, seen, most, s.byReason()}
}

// byReason lists the reasons with their numbers, most frequent first.
func (s *RowStats) byReason() string {
	count := s.reasons
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%d: %s", count[n], n))
	}
	return strings.Join(parts, "; ")
}

// String is a line for the log.
func (s *RowStats) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := s.total()
	line := fmt.Sprintf("%d rows used, %d skipped", s.good.n, bad)
	if bad > 0 {
		line += " (" + s.byReason() + ")"
	}
	if c := s.counts; c.Cut > 0 {
		line += fmt.Sprintf("; %d conversations cut to the row's length", c.Cut)
	}
	return line
}

// Counts are what became of the rows' turns.
func (s *RowStats) Counts() packing.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Bad is the number of rows that cannot be used.
func (s *RowStats) Bad() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total()
}

func (s *RowStats) total() (n int) {
	for _, c := range s.reasons {
		n += c
	}
	return n
}
