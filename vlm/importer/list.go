package importer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/data"
)

// maxLine is the longest line of a JSONL file, and maxList the largest list.
const (
	maxLine = 64 << 20
	maxList = 2 << 30
)

// A record is a line of a list by the names of its fields; values of CSV are strings.
type record map[string]any

// eachRecord reads a list and calls each for every record with its line, or with why
// there is none. The error is of the list as a whole.
type eachRecord func(r *bufio.Reader, each func(line int, rec record, failed string)) error

// reader is how a list is read, by its name; nil for what is no list.
func reader(path string) eachRecord {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return readJSONL
	case ".json":
		return readJSON
	case ".csv":
		return separated(',')
	case ".tsv":
		return separated('\t')
	}
	return nil
}

// readList adds a list's entries. Records of questions and answers that name the same
// pictures become the turns of one entry, at the place of the first.
func (c *collector) readList(s *source, path, split string) error {
	open := s.open
	if path == c.named { // by the user, wherever it leads
		open = smallfile.Open
	}
	file, err := open(path, maxList)
	if err != nil {
		return &SourceError{path, cause(err)}
	}
	defer file.Close()
	text, err := asUTF8(interrupted{c.ctx, file})
	if err != nil {
		return &SourceError{path, "the list " + cause(err)}
	}
	before := len(c.entries)
	first := map[[sha256.Size]byte]int{} // by pictures: the entry
	err = reader(path)(text, func(line int, rec record, failed string) {
		e := entry{source: s, file: path, line: line, split: split, failed: failed}
		if failed == "" {
			if err := c.parse(&e, rec); err != nil {
				e.failed = err.Error()
			}
		}
		key := e.pictures()
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

// interrupted reads until its context ends.
type interrupted struct {
	ctx context.Context
	r   io.Reader
}

func (i interrupted) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// pictures tells entries with the same pictures.
func (e *entry) pictures() (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, m := range e.images {
		fmt.Fprintf(hash, "%q %d ", m.path, len(m.bytes))
		hash.Write(m.bytes)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// parse makes an entry of a record.
func (c *collector) parse(e *entry, rec record) error {
	named, err := rec.images()
	if err != nil {
		return err
	}
	said, err := rec.conversation(c, len(c.entries))
	if err != nil {
		return err
	}
	names, err := said.match(rec, named)
	if err != nil {
		return err
	}
	for _, t := range said.turns {
		if strings.ContainsRune(t.User+t.Assistant, 0) {
			return errors.New("a text holds a NUL character")
		}
	}
	for _, name := range names {
		m, err := e.source.image(e.file, name)
		if err != nil {
			return err
		}
		e.images = append(e.images, m)
	}
	if len(data.Row{Turns: said.turns}.Answered()) == 0 {
		return errors.New("no turn has an answer")
	}
	e.turns = said.turns
	return nil
}

// separated reads CSV or TSV whose first line names the columns.
func separated(comma rune) eachRecord {
	return func(r *bufio.Reader, each func(int, record, string)) error {
		c := csv.NewReader(r)
		c.Comma, c.FieldsPerRecord, c.LazyQuotes, c.ReuseRecord = comma, -1, comma == '\t', true
		head, err := c.Read()
		if err != nil {
			return errors.New("the first line names no columns")
		}
		names := slices.Clone(head)
		for i := range names {
			names[i] = strings.ToLower(strings.TrimSpace(names[i]))
		}
		if err := checkColumns(names); err != nil {
			return err
		}
		for {
			values, err := c.Read()
			if err == io.EOF {
				return nil
			}
			if bad := (*csv.ParseError)(nil); errors.As(err, &bad) {
				each(bad.StartLine, nil, "not a line of columns: "+bad.Err.Error())
				continue
			}
			if err != nil {
				return err
			}
			line, _ := c.FieldPos(0) // there is a field wherever there is no error
			if len(values) != len(names) {
				each(line, nil, fmt.Sprintf("%d columns, not %d", len(values), len(names)))
				continue
			}
			if err := checkText([]byte(strings.Join(values, ","))); err != nil {
				each(line, nil, "the line "+err.Error())
				continue
			}
			rec := record{}
			for i, name := range names {
				rec[name] = values[i]
			}
			each(line, rec, "")
		}
	}
}

// checkColumns tells at once where the columns of a table cannot be what is meant.
func checkColumns(names []string) error {
	has := func(is func(plain string) bool) string {
		for _, n := range names {
			if is(plainName(n)) {
				return n
			}
		}
		return ""
	}
	for i, n := range names {
		if n != "" && slices.Contains(names[:i], n) {
			return fmt.Errorf("the column %s is there twice", n)
		}
	}
	text := has(func(n string) bool { return slices.Contains(captionFields, n) || slices.Contains(answerFields, n) })
	switch {
	case has(isImageField) != "" && text != "":
		return nil
	case text != "" && has(urlField.MatchString) != "":
		return fmt.Errorf("the column %s names pictures by their addresses, which are not read: download them, and name the files in a column image", has(urlField.MatchString))
	}
	return fmt.Errorf("the columns are %.300q; one such as image or file_name must name the picture, and one of %s or %s hold the text",
		names, strings.Join(captionFields, ", "), strings.Join(answerFields, ", "))
}
