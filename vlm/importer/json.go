package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode"
)

// readJSONL reads one object per line, or a JSON array.
func readJSONL(r *bufio.Reader, each func(int, record, string)) error {
	if first, err := firstLetter(r); err == nil && first == '[' {
		return readArray(r, each)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if text := bytes.TrimSpace(lines.Bytes()); len(text) > 0 {
			rec, failed := object(text)
			each(n, rec, failed)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MB", n+1, maxLine>>20)
	}
	return lines.Err()
}

// readJSON reads a JSON array of objects, as LLaVA uses, or one object per line.
func readJSON(r *bufio.Reader, each func(int, record, string)) error {
	switch first, err := firstLetter(r); {
	case err == io.EOF:
		return errors.New("the list is empty")
	case err != nil:
		return err
	case first == '[':
		return readArray(r, each)
	case first != '{':
		return errors.New("not a list of JSON objects")
	}
	head, _ := r.Peek(r.Size())
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if _, failed := object(bytes.TrimSpace(line)); failed == "" || len(line) == r.Size() {
		return readJSONL(r, each)
	}
	var one record // over several lines
	if err := json.NewDecoder(&nanReplacer{r: r}).Decode(&one); err != nil {
		return errors.New("not JSON")
	}
	return fmt.Errorf("a single JSON object, with the fields %.200q, instead of a list; write the entries as a JSON array, or one object per line", slices.Sorted(maps.Keys(one)))
}

// firstLetter returns the first byte that is not a space, without consuming it.
func firstLetter(r *bufio.Reader) (byte, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if !unicode.IsSpace(rune(b)) {
			return b, r.UnreadByte()
		}
	}
}

func readArray(r *bufio.Reader, each func(int, record, string)) error {
	d := json.NewDecoder(&nanReplacer{r: r})
	if _, err := d.Token(); err != nil {
		return err
	}
	for n := 1; d.More(); n++ {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			var damaged *json.SyntaxError
			if errors.As(err, &damaged) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("entry %d is not JSON", n)
			}
			return err
		}
		rec, failed := object(raw)
		each(n, rec, failed)
	}
	if _, err := d.Token(); err != nil {
		return errors.New("the list is truncated: ] is missing")
	}
	return nil
}

// object parses one object; failed is the reason if it is not valid.
func object(text []byte) (rec record, failed string) {
	if err := checkText(text); err != nil {
		return nil, "the entry " + err.Error()
	}
	if rec, ok := decoded(text); ok {
		return rec, ""
	}
	if err := checkControls(string(text)); err != nil {
		return nil, "the entry " + err.Error()
	}
	text, err := io.ReadAll(&nanReplacer{r: bufio.NewReader(bytes.NewReader(text))})
	if rec, ok := decoded(text); err == nil && ok {
		return rec, ""
	}
	return nil, "not a JSON object"
}

// decoded parses a text that is one object, keeping numbers as written.
func decoded(text []byte) (rec record, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&rec) != nil || rec == nil {
		return nil, false
	}
	_, err := d.Token()
	return rec, err == io.EOF
}

// nanReplacer is a reader that replaces NaN, Infinity and -Infinity, which Python writes
// but JSON does not allow, with empty objects. No field that is read accepts an empty
// object.
type nanReplacer struct {
	r        *bufio.Reader
	quoted   bool // inside a string
	escaped  bool // after a backslash
	leftover []byte
}

var notNumbers = []string{"NaN", "Infinity", "-Infinity"}

func (s *nanReplacer) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(s.leftover) > 0 {
			k := copy(p[n:], s.leftover)
			s.leftover, n = s.leftover[k:], n+k
			continue
		}
		if n > 0 && s.r.Buffered() == 0 {
			return n, nil
		}
		b, err := s.r.ReadByte()
		if err != nil {
			return n, err
		}
		if s.replaced(b) {
			s.leftover = []byte("{}")
			continue
		}
		p[n] = b
		n++
	}
	return n, nil
}

// replaced tracks strings. If b starts one of notNumbers outside a string, it consumes the
// rest and returns true.
func (s *nanReplacer) replaced(b byte) bool {
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted && b == '\\':
		s.escaped = true
	case b == '"':
		s.quoted = !s.quoted
	case !s.quoted && (b == 'N' || b == 'I' || b == '-'):
		for _, word := range notNumbers {
			rest := word[1:]
			if next, _ := s.r.Peek(len(rest)); word[0] == b && string(next) == rest {
				s.r.Discard(len(rest))
				return true
			}
		}
	}
	return false
}
