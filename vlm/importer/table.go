package importer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A line is a table's: its number and fields, or why it has none.
type line struct {
	n      int
	fields []string
	failed string
}

// readCSV reads CSV whose first line names the columns.
func readCSV(r *bufio.Reader, each func(int, record, string)) error {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	return readTable(each, func() (line, error) {
		fields, err := c.Read()
		if bad := (*csv.ParseError)(nil); errors.As(err, &bad) {
			return line{n: bad.StartLine, failed: "not a line of columns: " + bad.Err.Error()}, nil
		}
		if err != nil {
			return line{}, err
		}
		n, _ := c.FieldPos(0) // there is a field wherever there is no error
		return line{n: n, fields: fields}, nil
	})
}

// readTSV reads TSV whose first line names the columns. A quote there is a letter as
// others are, and a line ends where it ends: most tools write no quotes, and one before a
// word must not join the lines up to the next one.
func readTSV(r *bufio.Reader, each func(int, record, string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	return readTable(each, func() (line, error) {
		for lines.Scan() {
			n++
			if lines.Text() == "" {
				continue
			}
			fields := strings.Split(lines.Text(), "\t")
			for i := range fields {
				fields[i] = unquoted(fields[i])
			}
			return line{n: n, fields: fields}, nil
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return line{}, fmt.Errorf("line %d is longer than %d MB", n+1, maxLine>>20)
		case err != nil:
			return line{}, err
		}
		return line{}, io.EOF
	})
}

// unquoted takes the quotes off a field that is quoted as a whole, those in it doubled.
func unquoted(field string) string {
	if len(field) < 2 || field[0] != '"' || field[len(field)-1] != '"' {
		return field
	}
	inner := field[1 : len(field)-1]
	if strings.Contains(strings.ReplaceAll(inner, `""`, ""), `"`) {
		return field
	}
	return strings.ReplaceAll(inner, `""`, `"`)
}

// readTable makes records of lines, of which the first names the columns.
func readTable(each func(int, record, string), next func() (line, error)) error {
	head, err := next()
	if err != nil || head.failed != "" {
		return errors.New("the first line names no columns")
	}
	names := head.fields
	for i := range names {
		names[i] = strings.ToLower(strings.TrimSpace(names[i]))
	}
	if err := checkColumns(names); err != nil {
		return err
	}
	for {
		l, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if l.failed == "" && len(l.fields) != len(names) {
			l.failed = fmt.Sprintf("%d columns, not %d", len(l.fields), len(names))
		}
		if err := checkText([]byte(strings.Join(l.fields, ","))); l.failed == "" && err != nil {
			l.failed = "the line " + err.Error()
		}
		rec := record{}
		for i, name := range names {
			if l.failed == "" {
				rec[name] = l.fields[i]
			}
		}
		each(l.n, rec, l.failed)
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
