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
	mu     sync.Mutex
	good   map[int]bool
	bad    map[int]string // by row: why
	counts batch.Counts
	warn   func(v data.Verdict) // called once for each bad row
}

// NewTally starts counting; warn, which may be nil, learns of every bad row.
func NewTally(warn func(v data.Verdict)) *Tally {
	return &Tally{good: map[int]bool{}, bad: map[int]string{}, warn: warn}
}

// minRows is how many rows are seen before the share of bad ones is judged.
const minRows = 100

func (t *Tally) encoded(i int, row data.Row, c batch.Counts) {
	t.mu.Lock()
	t.counts.Add(c)
	t.mu.Unlock()
	v := data.Verdict{File: row.File, Row: row.Index, Status: data.Use}
	if len(row.Answered()) == 0 {
		v.Status, v.Reason = data.Skip, "no turn has an answer"
	}
	t.judged(i, v)
}

func (t *Tally) judged(i int, v data.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.bad[i]
	switch {
	case v.Status == data.Use && !known:
		t.good[i] = true
	case v.Status != data.Use && !known:
		delete(t.good, i)
		t.bad[i] = v.Reason
		if t.warn != nil {
			t.warn(v)
		}
	}
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
	seen := len(t.good) + len(t.bad)
	if seen == 0 || !end && seen < minRows || float64(len(t.bad)) <= most*float64(seen) {
		return nil
	}
	return &BadRowsError{len(t.bad), seen, most, t.reasons()}
}

// reasons lists the reasons with their numbers, most frequent first. Details
// behind a colon are left out.
func (t *Tally) reasons() string {
	count := map[string]int{}
	for _, r := range t.bad {
		short, _, _ := strings.Cut(r, ":")
		count[short]++
	}
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
	s := fmt.Sprintf("%d rows used, %d skipped", len(t.good), len(t.bad))
	if len(t.bad) > 0 {
		s += " (" + t.reasons() + ")"
	}
	if c := t.counts; c.Cut+c.Skipped > 0 {
		s += fmt.Sprintf("; %d conversations cut to the row's length, %d too long", c.Cut, c.Skipped)
	}
	return s
}

// Bad is the number of rows that cannot be used.
func (t *Tally) Bad() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.bad)
}
