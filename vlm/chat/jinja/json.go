package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// FromJSON parses a JSON value. Objects keep the order of their keys. Numbers without a
// decimal point or exponent are integers.
func FromJSON(data []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (Value, error) {
	if depth > maxValueDepth {
		return nil, errors.New("JSON is nested too deeply")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			list := &List{}
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err := d.Token()
			return list, err
		}
		return decodeDict(d, depth)
	case json.Number:
		return jsonNumber(t.String())
	case string:
		return t, nil
	case bool:
		return t, nil
	}
	return nil, nil
}

func decodeDict(d *json.Decoder, depth int) (Value, error) {
	dict := NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		dict.Set(key.(string), v)
	}
	_, err := d.Token()
	return dict, err
}

func jsonNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		return f, nil
	}
	if len(s) > maxDigits {
		return nil, fmt.Errorf("a number of %d digits", len(s))
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("the number %s", s)
	}
	return shortInt(b), nil
}

// jsonWriter implements Python's json.dumps.
type jsonWriter struct {
	*sink
	ascii, sorted   bool
	indent          string // per level
	indents         bool
	itemSep, keySep string
}

// filterToJSON is transformers' tojson: without HTML escapes, with keys in their order, and
// non-ASCII text unescaped.
func filterToJSON(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{sink: &sink{r: r}, itemSep: ", ", keySep: ": "}
	w.ascii, w.sorted = truth(orElse(p[0], false)), truth(orElse(p[3], false))
	if err := w.indentBy(orElse(p[1], nil)); err != nil {
		return nil, err
	}
	if w.indents {
		w.itemSep = ","
	}
	if sep := orElse(p[2], nil); sep != nil {
		pair, err := r.items(sep)
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, errors.New("separators are two texts")
		}
		if w.itemSep, err = textArg("separators", pair[0]); err != nil {
			return nil, err
		}
		if w.keySep, err = textArg("separators", pair[1]); err != nil {
			return nil, err
		}
	}
	err = w.value(v, 0)
	return w.b.String(), err
}

func (w *jsonWriter) indentBy(v Value) error {
	if v == nil {
		return nil
	}
	w.indents = true
	if s, ok := asText(v); ok {
		w.indent = s
		return nil
	}
	n, ok := asInt(v)
	if !ok {
		return errors.New("indent is a number or a text")
	}
	if err := w.r.allocate(int(max(n, 0))); err != nil {
		return err
	}
	w.indent = strings.Repeat(" ", int(max(n, 0)))
	return nil
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > maxValueDepth {
		return errDepth
	}
	if err := w.r.tick(); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		return w.write("null")
	case bool:
		return w.write(strconv.FormatBool(v))
	case int64:
		return w.write(strconv.FormatInt(v, 10))
	case *big.Int:
		return w.write(v.String())
	case float64:
		return w.write(jsonFloat(v))
	case string:
		return w.text(v)
	case markup:
		return w.text(string(v))
	case *List:
		return w.list(v.Items, depth)
	case *Tuple:
		return w.list(v.Items, depth)
	case *Dict:
		return w.object(v, depth)
	}
	return fmt.Errorf("Object of type %s is not JSON serializable", typeName(v))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatText(f)
}

func (w *jsonWriter) line(depth int) error {
	if !w.indents {
		return nil
	}
	if err := w.write("\n"); err != nil {
		return err
	}
	for range depth {
		if err := w.write(w.indent); err != nil {
			return err
		}
	}
	return nil
}

func (w *jsonWriter) list(items []Value, depth int) error {
	if len(items) == 0 {
		return w.write("[]")
	}
	for i, item := range items {
		open := w.itemSep
		if i == 0 {
			open = "["
		}
		if err := w.write(open); err != nil {
			return err
		}
		if err := w.line(depth + 1); err != nil {
			return err
		}
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	if err := w.line(depth); err != nil {
		return err
	}
	return w.write("]")
}

func (w *jsonWriter) object(d *Dict, depth int) error {
	if d.Len() == 0 {
		return w.write("{}")
	}
	order, err := w.order(d)
	if err != nil {
		return err
	}
	for i, at := range order {
		open := w.itemSep
		if i == 0 {
			open = "{"
		}
		if err := w.write(open); err != nil {
			return err
		}
		if err := w.line(depth + 1); err != nil {
			return err
		}
		if err := w.key(d.keys[at]); err != nil {
			return err
		}
		if err := w.write(w.keySep); err != nil {
			return err
		}
		if err := w.value(d.values[at], depth+1); err != nil {
			return err
		}
	}
	if err := w.line(depth); err != nil {
		return err
	}
	return w.write("}")
}

func (w *jsonWriter) order(d *Dict) ([]int, error) {
	order := make([]int, d.Len())
	for i := range order {
		order[i] = i
	}
	if !w.sorted {
		return order, nil
	}
	var failed error
	slices.SortStableFunc(order, func(a, b int) int {
		c, err := w.r.order(d.keys[a], d.keys[b], 0)
		if err != nil {
			failed = w.r.sortError(err, d.keys[a], d.keys[b])
		}
		return c
	})
	return order, failed
}

func (w *jsonWriter) key(v Value) error {
	switch v := v.(type) {
	case string:
		return w.text(v)
	case markup:
		return w.text(string(v))
	case nil:
		return w.write(`"null"`)
	case bool:
		return w.write(`"` + strconv.FormatBool(v) + `"`)
	case int64:
		return w.write(`"` + strconv.FormatInt(v, 10) + `"`)
	case float64:
		return w.write(`"` + jsonFloat(v) + `"`)
	}
	return fmt.Errorf("keys must be str, int, float, bool or None, not %s", typeName(v))
}

func (w *jsonWriter) text(s string) error {
	if err := w.r.checkSize(len(s)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c < ' ' || w.ascii && c >= 0x7f && c <= 0xffff && c != 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		case w.ascii && c > 0xffff:
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return w.write(b.String())
}
