package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// maxLine is the longest line of a JSONL file, and maxList the largest list in JSON.
const (
	maxLine = 64 << 20
	maxList = 1 << 30
)

// A record is a line of a list by the names of its fields; values of CSV are strings.
type record map[string]any

// eachRecord reads a list and calls each for every record with its line, or with why
// there is none. The error is of the list as a whole.
type eachRecord func(r io.Reader, each func(line int, rec record, failed string)) error

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

// readList makes entries of a list. Records of questions and answers that name the
// same pictures become the turns of one entry, at the place of the first.
func readList(o Options, path string, place int) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &SourceError{path, cause(err)}
	}
	defer file.Close()
	var all []entry
	first := map[string]int{} // by pictures: the entry
	err = reader(path)(skipMark(file), func(line int, rec record, failed string) {
		e := entry{file: path, line: line, failed: failed}
		if failed == "" {
			e = parse(o, path, line, rec, place+len(all))
		}
		key := strings.Join(e.images, "\x00")
		at, known := first[key]
		if known && e.failed == "" && key != "" {
			all[at].turns = append(all[at].turns, e.turns...)
			return
		}
		if e.failed == "" {
			first[key] = len(all)
		}
		all = append(all, e)
	})
	if err != nil {
		return nil, &SourceError{path, err.Error()}
	}
	if len(all) == 0 {
		return nil, &SourceError{path, "the list is empty"}
	}
	return all, nil
}

// skipMark skips the byte order mark that some editors put before a text.
func skipMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, _ := b.Peek(len(byteOrderMark)); string(head) == byteOrderMark {
		b.Discard(len(byteOrderMark))
	}
	return b
}

// parse makes an entry of a record.
func parse(o Options, list string, line int, rec record, place int) entry {
	e := entry{file: list, line: line}
	failed := func(err error) entry {
		e.failed = err.Error()
		return e
	}
	images, err := rec.images()
	if err != nil {
		return failed(err)
	}
	turns, inside, err := rec.turns(o, place)
	if err != nil {
		return failed(err)
	}
	if len(data.Row{Turns: turns}.Answered()) == 0 {
		return failed(errors.New("no turn has an answer"))
	}
	if len(images) == 0 {
		images = inside
	}
	for _, name := range images {
		path, err := locate(list, name)
		if err != nil {
			return failed(err)
		}
		e.images = append(e.images, path)
	}
	e.turns = turns
	return e
}

func readJSONL(r io.Reader, each func(int, record, string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var rec record
		if err := json.Unmarshal(text, &rec); err != nil || rec == nil {
			each(n, nil, "not a JSON object")
			continue
		}
		each(n, rec, "")
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MB", n+1, maxLine>>20)
	}
	return lines.Err()
}

// readJSON reads a list of objects, as LLaVA's data are.
func readJSON(r io.Reader, each func(int, record, string)) error {
	d := json.NewDecoder(io.LimitReader(r, maxList))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not a list of JSON objects")
	}
	for n := 1; d.More(); n++ {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("entry %d is not JSON", n)
		}
		var rec record
		if json.Unmarshal(raw, &rec) != nil || rec == nil {
			each(n, nil, "not a JSON object")
			continue
		}
		each(n, rec, "")
	}
	if _, err := d.Token(); err != nil {
		return errors.New("the list does not end")
	}
	return nil
}

// separated reads CSV or TSV whose first line names the columns.
func separated(comma rune) eachRecord {
	return func(r io.Reader, each func(int, record, string)) error {
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
		if err := known(names); err != nil {
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
			rec := record{}
			for i, name := range names {
				rec[name] = values[i]
			}
			each(line, rec, "")
		}
	}
}

// known tells at once where the columns of a table cannot be what is meant.
func known(names []string) error {
	has := func(list []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(list, n) })
	}
	if !has(imageFields) || !has(captionFields) && !has(answerFields) {
		return fmt.Errorf("the columns are %.300q; one of %s must name the picture, and one of %s or %s hold the text",
			names, strings.Join(imageFields, ", "), strings.Join(captionFields, ", "), strings.Join(answerFields, ", "))
	}
	return nil
}

var (
	imageFields    = []string{"image", "images", "file_name", "path", "image_path", "filename", "file", "img"}
	captionFields  = []string{"text", "caption", "description"}
	questionFields = []string{"question", "prompt", "user", "instruction", "input"}
	answerFields   = []string{"answer", "response", "assistant", "output"}
	turnFields     = []string{"conversations", "messages", "conversation"}
)

// turn is a question with its answer, valid UTF-8.
func turn(user, assistant string) data.Turn {
	return data.Turn{User: strings.ToValidUTF8(user, "\uFFFD"), Assistant: strings.ToValidUTF8(assistant, "\uFFFD")}
}
