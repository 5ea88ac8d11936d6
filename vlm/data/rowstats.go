package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"patchwork/vlm/packing"
)

// RowStats counts the usable rows of a data set and, by reason, the bad ones. It is safe
// for concurrent use.
type RowStats struct {
	mu        sync.Mutex
	good, bad RowSet // by this process
	earlier   RowSet // bad rows listed by earlier processes
	reasons   map[string]int
	counts    packing.Counts
	list      *BadRows // may be nil
	warn      func(v Verdict)
	sharing   bool
	found     []NumberedVerdict // when sharing: bad rows since the last TakeFound
}

// NumberedVerdict is a verdict with the row's number in the data set.
type NumberedVerdict struct {
	Number int
	Verdict
}

// NewRowStats returns empty statistics. warn, which may be nil, is called once for every
// bad row.
func NewRowStats(warn func(v Verdict)) *RowStats {
	return &RowStats{reasons: map[string]int{}, warn: warn}
}

// ListTo lists skipped rows from now on, and counts the rows of d that are listed
// already. Check ignores those, since the number of good rows seen with them is unknown.
func (s *RowStats) ListTo(list *BadRows, d *Dataset) {
	s.list = list
	for _, row := range list.earlier {
		if i, ok := d.Index(row.File, row.Row); ok && s.earlier.Add(i) {
			s.count(row.Reason)
		}
	}
}

// minRows is the number of rows before Check judges the fraction of bad ones.
const minRows = 100

// Count adds the packing counts of an encoded row.
func (s *RowStats) Count(c packing.Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Add(c)
}

// TooLong returns the reason for skipping a row of which no turn fits a packed row.
func TooLong(rowLen int) string { return fmt.Sprintf("no turn fits a row of %d tokens", rowLen) }

// Share makes Record keep bad rows for TakeFound. It is called before the first Record.
func (s *RowStats) Share() { s.sharing = true }

// Found returns the number of bad rows that TakeFound would return.
func (s *RowStats) Found() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.found)
}

// TakeFound returns the bad rows that Record has counted since the last call, for other processes.
func (s *RowStats) TakeFound() []NumberedVerdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.found
	s.found = nil
	return found
}

// Merge counts rows by the verdicts of other processes.
func (s *RowStats) Merge(verdicts []NumberedVerdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range verdicts {
		s.record(v.Number, v.Verdict)
	}
}

// Record counts a row by its verdict.
func (s *RowStats) Record(i int, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record(i, v) && s.sharing {
		s.found = append(s.found, NumberedVerdict{i, v})
	}
}

// record reports whether the row is bad and was not counted as such.
func (s *RowStats) record(i int, v Verdict) (found bool) {
	if v.Status == Use {
		if !s.bad.Has(i) {
			s.good.Add(i)
		}
		return false
	}
	if !s.bad.Add(i) {
		return false
	}
	s.good.remove(i)
	if !s.earlier.Has(i) {
		s.count(v.Reason)
	}
	if s.list != nil {
		s.list.add(BadRow{v.File, v.Row, v.Reason})
	}
	if s.warn != nil {
		s.warn(v)
	}
	return true
}

// maxReasons limits the reasons that are counted separately.
const maxReasons = 1000

func (s *RowStats) count(reason string) {
	short := ShortReason(reason)
	if _, known := s.reasons[short]; !known && len(s.reasons) >= maxReasons {
		short = "other reasons"
	}
	s.reasons[short]++
}

// BadRowsError reports that too many rows cannot be used.
type BadRowsError struct {
	Bad, Seen int
	Max       float64
	Reasons   string
}

func (e *BadRowsError) Error() string {
	return fmt.Sprintf("%d of %d data rows cannot be used (%s), more than --max-bad-fraction %g", e.Bad, e.Seen, e.Reasons, e.Max)
}

// Check returns a *BadRowsError if the fraction of bad rows exceeds maxFraction. It
// waits for minRows rows, or for the end of the data.
func (s *RowStats) Check(maxFraction float64, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.good.n + s.bad.n
	if seen == 0 || !end && seen < minRows || float64(s.bad.n) <= maxFraction*float64(seen) {
		return nil
	}
	return &BadRowsError{s.bad.n, seen, maxFraction, s.byReason()}
}

// byReason lists the reasons with their counts, most frequent first.
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

// String returns a line for the log.
func (s *RowStats) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := s.total()
	line := fmt.Sprintf("%d rows used, %d skipped", s.good.n, bad)
	if bad > 0 {
		line += " (" + s.byReason() + ")"
	}
	if c := s.counts; c.Cut > 0 {
		line += fmt.Sprintf("; %d conversations cut to the row length", c.Cut)
	}
	return line
}

// Counts returns the packing counts of all encoded rows.
func (s *RowStats) Counts() packing.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Bad returns the number of bad rows, including those listed by earlier processes.
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
