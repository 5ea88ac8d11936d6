package importer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// A line is a line of a table: its number, and its fields or the reason it is not valid.
type line struct {
	n      int
	fields []string
	failed string
}

// readCSV reads CSV with a header line.
func readCSV(r *bufio.Reader, each func(int, record, string)) error {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	return readTable(each, func() (line, error) {
		fields, err := c.Read()
		if bad := (*csv.ParseError)(nil); errors.As(err, &bad) {
			return line{n: bad.StartLine, failed: "not valid CSV: " + bad.Err.Error()}, nil
		}
		if err != nil {
			return line{}, err
		}
		n, _ := c.FieldPos(0) // without an error there is at least one field
		return line{n: n, fields: fields}, nil
	})
}

// readTSV reads TSV with a header line. Quotes do not span lines: most tools do not quote
// TSV, so a quote character must not join lines up to the next quote.
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

// unquoted removes the quotes of a field that is quoted as a whole, with inner quotes
// doubled. Other fields are returned unchanged.
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

// readTable calls each for every line after the header line.
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
			l.failed = fmt.Sprintf("%d columns, want %d", len(l.fields), len(names))
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

// checkColumns returns an error if the columns do not include an image and a text.
func checkColumns(names []string) error {
	has := func(is func(plain string) bool) string {
		for _, n := range names {
			if is(data.NormalizeName(n)) {
				return n
			}
		}
		return ""
	}
	for i, n := range names {
		if n != "" && slices.Contains(names[:i], n) {
			return fmt.Errorf("the column %s occurs twice", n)
		}
	}
	text := has(func(n string) bool { return slices.Contains(captionFields, n) || slices.Contains(answerFields, n) })
	switch {
	case has(isImageField) != "" && text != "":
		return nil
	case text != "" && has(urlField.MatchString) != "":
		return fmt.Errorf("the column %s has URLs of images, which are not read: download them and name the files in a column image", has(urlField.MatchString))
	}
	return fmt.Errorf("the columns are %.300q; want a column such as image or file_name for the image, and one of %s or %s for the text",
		names, strings.Join(captionFields, ", "), strings.Join(answerFields, ", "))
}
