package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"patchwork/internal/smallfile"
)

// BadRowsFile is the name of the list of skipped rows in a run's folder.
const BadRowsFile = "bad_rows.jsonl"

// Limits on listed rows, in total and per reason: millions of bad rows would fill the
// disk, and one frequent reason must not crowd out the others. RowStats still counts
// every bad row.
const (
	maxListed          = 100_000
	maxListedPerReason = 10_000
)

// BadRow is a line of bad_rows.jsonl.
type BadRow struct {
	File   string `json:"file"`
	Row    int    `json:"row"`
	Reason string `json:"reason"`
}

type rowName struct {
	file string
	row  int
}

// BadRows is the list of skipped rows, each listed once across all epochs and resumed
// runs. The file is created with its first line. It is safe for concurrent use.
type BadRows struct {
	path    string
	earlier []BadRow // listed before this process

	mu      sync.Mutex
	listed  map[rowName]bool
	counts  map[string]int // listed rows by ShortReason
	file    *os.File
	created bool // by this process
	closed  bool
	err     error // the first write error
}

// OpenBadRows opens the list at path and reads what earlier processes listed, if
// anything. A partial last line, left by a killed process, is truncated.
func OpenBadRows(path string) (*BadRows, error) {
	b := &BadRows{path: path, listed: map[rowName]bool{}, counts: map[string]int{}}
	old, err := smallfile.Read(path, smallfile.Log)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	whole := 0
	for line := range bytes.Lines(old) {
		var row BadRow
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &row) != nil {
			break
		}
		whole += len(line)
		if b.register(row) {
			b.earlier = append(b.earlier, row)
		}
	}
	if whole < len(old) {
		return b, os.Truncate(path, int64(whole))
	}
	return b, nil
}

// Earlier returns the rows that earlier processes listed.
func (b *BadRows) Earlier() []BadRow { return b.earlier }

// register records a row and reports whether to list it: false for a row listed before
// or beyond a limit.
func (b *BadRows) register(row BadRow) bool {
	name, reason := rowName{row.File, row.Row}, ShortReason(row.Reason)
	if b.listed[name] || len(b.listed) >= maxListed || b.counts[reason] >= maxListedPerReason {
		return false
	}
	b.listed[name] = true
	b.counts[reason]++
	return true
}

// add lists a row. Close returns the first error.
func (b *BadRows) add(row BadRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.err != nil || !b.register(row) {
		return
	}
	if b.file == nil {
		if _, err := os.Stat(b.path); errors.Is(err, os.ErrNotExist) {
			b.created = true
		}
		b.file, b.err = os.OpenFile(b.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	if b.err == nil {
		var line []byte
		line, b.err = json.Marshal(row)
		if b.err == nil {
			_, b.err = b.file.Write(append(line, '\n'))
		}
	}
}

// Close closes the file and returns the first error of add.
func (b *BadRows) Close() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true // prefetched rows may still be added
	if b.file != nil {
		b.err = errors.Join(b.err, b.file.Close())
		b.file = nil
	}
	return b.err
}

// Discard closes the list and removes the file if this process created it.
func (b *BadRows) Discard() error {
	if b == nil {
		return nil
	}
	err := b.Close()
	if b.created {
		err = errors.Join(err, os.Remove(b.path))
	}
	return err
}
