package importer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/data"
)

const (
	maxLine = 64 << 20 // bytes of a line
	maxList = 2 << 30  // bytes of a list
)

// A record is an entry of a list, by field name. Values from CSV and TSV are strings.
type record map[string]any

// eachRecord reads a list and calls each for every entry with its line number and either
// the record or the reason it is not valid. The error is about the list as a whole.
type eachRecord func(r *bufio.Reader, each func(line int, rec record, failed string)) error

// reader returns the function that reads a list, by its extension; nil for other files.
func reader(path string) eachRecord {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return readJSONL
	case ".json":
		return readJSON
	case ".csv":
		return readCSV
	case ".tsv":
		return readTSV
	}
	return nil
}

// readList adds a list's entries. Entries with the same images are merged into the first of
// them, as further turns.
func (c *collector) readList(s *source, path, split string) error {
	open := s.open
	if path == c.named { // a path given by the user may lead anywhere
		open = smallfile.Open
	}
	file, err := open(path, maxList)
	if err != nil {
		return &SourceError{path, cause(err)}
	}
	defer file.Close()
	text, err := asUTF8(contextReader{c.ctx, file})
	if err != nil {
		return &SourceError{path, "the list " + cause(err)}
	}
	before := len(c.entries)
	first := map[[sha256.Size]byte]int{} // index of the first entry with the images
	err = reader(path)(text, func(line int, rec record, failed string) {
		e := entry{source: s, file: path, line: line, split: split, failed: failed}
		if failed == "" {
			if err := c.parse(&e, rec); err != nil {
				e.failed = err.Error()
			}
		}
		key := e.imagesKey()
		at, known := first[key]
		if known && e.failed == "" && len(e.images) > 0 {
			c.entries[at].turns = append(c.entries[at].turns, e.turns...)
			return
		}
		if e.failed == "" {
			first[key] = len(c.entries)
		}
		c.entries = append(c.entries, e)
	})
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case err != nil:
		return &SourceError{path, cause(err)}
	case len(c.entries) == before:
		return &SourceError{path, "the list is empty"}
	}
	return nil
}

// contextReader is a reader that fails when its context is cancelled.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (i contextReader) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// imagesKey returns a hash of the entry's images.
func (e *entry) imagesKey() (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, m := range e.images {
		fmt.Fprintf(hash, "%q %d ", m.path, len(m.bytes))
		hash.Write(m.bytes)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// parse fills an entry from a record.
func (c *collector) parse(e *entry, rec record) error {
	named, err := rec.images()
	if err != nil {
		return err
	}
	parsed, err := rec.conversation(c, len(c.entries))
	if err != nil {
		return err
	}
	names, err := parsed.match(rec, named)
	if err != nil {
		return err
	}
	for _, t := range parsed.turns {
		if err := checkControls(t.User + "\n" + t.Assistant); err != nil {
			return fmt.Errorf("a text %w", err)
		}
	}
	for _, name := range names {
		m, err := e.source.image(e.file, name)
		if err != nil {
			return err
		}
		e.images = append(e.images, m)
	}
	answered := len(data.Row{Turns: parsed.turns}.Answered())
	if answered == 0 {
		return errors.New("no turn has an answer")
	}
	e.turns = parsed.turns
	c.unanswered += len(parsed.turns) - answered
	c.joined += parsed.joined
	c.systemMessages += parsed.system
	for _, key := range rec.unusedTexts(parsed.used) {
		c.unused[key]++
	}
	return nil
}
