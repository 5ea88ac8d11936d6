package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func runeCount(s string) int { return utf8.RuneCountInString(s) }

func runeSize(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// A sink is an output that is limited to the size of a value.
type sink struct {
	r *run
	b strings.Builder
}

func (s *sink) write(text string) error {
	if err := s.r.checkSize(s.b.Len() + len(text)); err != nil {
		return err
	}
	if err := s.r.charge(len(text)); err != nil {
		return err
	}
	s.b.WriteString(text)
	return nil
}

// text returns Python's str(v).
func (r *run) text(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case *Undefined:
		return "", nil
	}
	s := &sink{r: r}
	if err := s.repr(v, 0); err != nil {
		return "", err
	}
	return s.b.String(), nil
}

// repr writes Python's repr(v).
func (s *sink) repr(v Value, depth int) error {
	if depth > maxValueDepth {
		return errDepth
	}
	if err := s.r.tick(); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		return s.write("None")
	case bool:
		if v {
			return s.write("True")
		}
		return s.write("False")
	case int64:
		return s.write(strconv.FormatInt(v, 10))
	case *big.Int:
		return s.write(v.String())
	case float64:
		return s.write(floatText(v))
	case string:
		return s.quoted(v)
	case markup:
		if err := s.write("Markup("); err != nil {
			return err
		}
		if err := s.quoted(string(v)); err != nil {
			return err
		}
		return s.write(")")
	case *Undefined:
		return s.write("Undefined")
	case *List:
		return s.sequence("[", v.Items, "]", depth)
	case *Tuple:
		if len(v.Items) == 1 {
			return s.sequence("(", v.Items, ",)", depth)
		}
		return s.sequence("(", v.Items, ")", depth)
	case *Dict:
		return s.dict(v, depth)
	case *view:
		return s.sequence("dict_"+v.kind+"([", v.items, "])", depth)
	case *namespace:
		if err := s.write("<Namespace "); err != nil {
			return err
		}
		if err := s.dict(v.attrs, depth); err != nil {
			return err
		}
		return s.write(">")
	case *rangeValue:
		return s.write(v.String())
	case *generator:
		return s.write("<" + v.kind + " object>")
	case *macro:
		return s.write("<Macro '" + v.def.name + "'>")
	case *loop:
		return s.write(fmt.Sprintf("<LoopContext %d/%d>", v.at+1, len(v.items)))
	case *function:
		return s.write("<function " + v.name + ">")
	}
	return s.write("<" + typeName(v) + " object>")
}

func (r *rangeValue) String() string {
	if r.step == 1 {
		return fmt.Sprintf("range(%d, %d)", r.start, r.stop)
	}
	return fmt.Sprintf("range(%d, %d, %d)", r.start, r.stop, r.step)
}

func (s *sink) sequence(open string, items []Value, end string, depth int) error {
	if err := s.write(open); err != nil {
		return err
	}
	for i, item := range items {
		if i > 0 {
			if err := s.write(", "); err != nil {
				return err
			}
		}
		if err := s.repr(item, depth+1); err != nil {
			return err
		}
	}
	return s.write(end)
}

func (s *sink) dict(d *Dict, depth int) error {
	if err := s.write("{"); err != nil {
		return err
	}
	for i, key := range d.keys {
		if i > 0 {
			if err := s.write(", "); err != nil {
				return err
			}
		}
		if err := s.repr(key, depth+1); err != nil {
			return err
		}
		if err := s.write(": "); err != nil {
			return err
		}
		if err := s.repr(d.values[i], depth+1); err != nil {
			return err
		}
	}
	return s.write("}")
}

// quoted writes Python's repr of a text.
func (s *sink) quoted(text string) error {
	if err := s.r.checkSize(len(text)); err != nil {
		return err
	}
	quote := '\''
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, c := range text {
		switch {
		case c == quote || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		default:
			b.WriteString(hexEscape(c))
		}
	}
	b.WriteRune(quote)
	return s.write(b.String())
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escaped is markupsafe's escape.
func (r *run) escaped(v Value) (markup, error) {
	if m, ok := v.(markup); ok {
		return m, nil
	}
	text, err := r.text(v)
	if err != nil {
		return "", err
	}
	if err := r.checkSize(5 * len(text)); err != nil && strings.ContainsAny(text, "&<>'\"") {
		return "", err
	}
	return markup(htmlEscapes.Replace(text)), nil
}
