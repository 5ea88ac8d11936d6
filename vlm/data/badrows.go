package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"patchwork/internal/smallfile"
)

// BadRowsFile is the name of the list in a run's folder.
const BadRowsFile = "bad_rows.jsonl"

// What the list holds at the most: data with millions of bad rows would fill the
// disk, and one flood must not hide the other reasons. All of them are counted.
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

// BadRows is the list of rows that were skipped, each once, over all epochs and
// resumed runs. The file is made with its first line.
type BadRows struct {
	path    string
	earlier []BadRow // listed before this process

	mu      sync.Mutex
	listed  map[rowName]bool
	counts  map[string]int // listed, by reason in short
	file    *os.File
	created bool
	closed  bool
	err     error // of the first line that could not be written
}

// OpenBadRows reads the list that is there; a line cut off by the end of an earlier
// process is dropped.
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

// Earlier are the rows that were listed before this process.
func (b *BadRows) Earlier() []BadRow { return b.earlier }

// note reports whether a row is new and has room in the list.
func (b *BadRows) register(row BadRow) bool {
	name, reason := rowName{row.File, row.Row}, ShortReason(row.Reason)
	if b.listed[name] || len(b.listed) >= maxListed || b.counts[reason] >= maxListedPerReason {
		return false
	}
	b.listed[name] = true
	b.counts[reason]++
	return true
}

// add lists a row. The first error is kept for Close.
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

// Close closes the list and returns the first error met.
func (b *BadRows) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true // what is prepared ahead may still be judged
	if b.file != nil {
		b.err = errors.Join(b.err, b.file.Close())
		b.file = nil
	}
	return b.err
}

// Abandon closes the list, and removes it where this process has made it.
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
