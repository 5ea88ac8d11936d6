package vlm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"patchwork/vlm/batch"
	"patchwork/vlm/data"
)

// Tally counts the rows of a data set that were seen, and those that cannot be
// used by reason. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	good, bad rowSet // by this process
	earlier   rowSet // bad ones that an earlier process has listed
	reasons   map[string]int
	counts    batch.Counts
	list      *badRows // where skipped rows are written down; nil: nowhere
	warn      func(v data.Verdict)
}

// NewTally starts counting; warn, which may be nil, learns of every bad row once.
func NewTally(warn func(v data.Verdict)) *Tally {
	return &Tally{reasons: map[string]int{}, warn: warn}
}

// listTo writes skipped rows down from here on, and counts those of the data set
// that are listed already. They say nothing of the share of bad rows: how many good
// ones there were beside them is not known.
func (t *Tally) listTo(list *badRows, d *data.Dataset) {
	t.list = list
	for _, row := range list.earlier {
		if i, ok := d.Index(row.File, row.Row); ok && t.earlier.add(i) {
			t.count(row.Reason)
		}
	}
}

// minRows is how many rows are seen before the share of bad ones is judged.
const minRows = 100

// encoded counts what became of a row's text. A row of which nothing fits is a bad one.
func (t *Tally) encoded(i int, row data.Row, c batch.Counts, rowLen int) {
	t.mu.Lock()
	t.counts.Add(c)
	t.mu.Unlock()
	v := data.Verdict{File: row.File, Row: row.Index, Status: data.Use}
	if c.Skipped > 0 {
		v.Status, v.Reason = data.Skip, tooLong(rowLen)
	}
	t.judged(i, v)
}

// tooLong is why a row is skipped of which nothing fits a row of training.
func tooLong(rowLen int) string { return fmt.Sprintf("no turn fits a row of %d tokens", rowLen) }

func (t *Tally) judged(i int, v data.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.Status == data.Use {
		if !t.bad.has(i) {
			t.good.add(i)
		}
		return
	}
	if !t.bad.add(i) {
		return
	}
	t.good.remove(i)
	if !t.earlier.has(i) {
		t.count(v.Reason)
	}
	if t.list != nil {
		t.list.add(badRow{v.File, v.Row, v.Reason})
	}
	if t.warn != nil {
		t.warn(v)
	}
}

// maxReasons bounds the reasons that are told apart.
const maxReasons = 1000

func (t *Tally) count(reason string) {
	short := data.ShortReason(reason)
	if _, known := t.reasons[short]; !known && len(t.reasons) >= maxReasons {
		short = "other reasons"
	}
	t.reasons[short]++
}

// BadRowsError says that too many rows cannot be used.
type BadRowsError struct {
	Bad, Seen int
	Most      float64
	Reasons   string
}

func (e *BadRowsError) Error() string {
	return fmt.Sprintf("%d of %d data rows cannot be used (%s), more than --max-bad-fraction %g", e.Bad, e.Seen, e.Reasons, e.Most)
}

// check judges the share of bad rows once enough were seen, or at the end.
func (t *Tally) check(most float64, end bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.good.n + t.bad.n
	if seen == 0 || !end && seen < minRows || float64(t.bad.n) <= most*float64(seen) {
		return nil
	}
	return &BadRowsError{t.bad.n, seen, most, t.byReason()}
}

// byReason lists the reasons with their numbers, most frequent first.
func (t *Tally) byReason() string {
	count := t.reasons
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
func (t *Tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	bad := t.total()
	s := fmt.Sprintf("%d rows used, %d skipped", t.good.n, bad)
	if bad > 0 {
		s += " (" + t.byReason() + ")"
	}
	if c := t.counts; c.Cut > 0 {
		s += fmt.Sprintf("; %d conversations cut to the row's length", c.Cut)
	}
	return s
}

// Bad is the number of rows that cannot be used.
func (t *Tally) Bad() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total()
}

func (t *Tally) total() (n int) {
	for _, c := range t.reasons {
		n += c
	}
	return n
}
