package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// conversion is a Python format specification, of % or of str.format.
type conversion struct {
	fill      rune
	align     byte // < > ^ =; 0: the type's default
	sign      byte // + - or space
	alternate bool
	width     int
	comma     byte // thousands separator: , or _
	precision int  // -1: none
	verb      byte
}

// percent returns Python's text % v.
func (r *run) percent(text string, v Value) (string, error) {
	f := &percentFormat{r: r, text: text, out: &sink{r: r}}
	f.args = []Value{v}
	if t, ok := v.(*Tuple); ok {
		f.args = t.Items
	}
	f.dict, _ = v.(*Dict)
	if err := f.run(); err != nil {
		return "", err
	}
	if f.used < len(f.args) && !isMappingLike(v) {
		return "", errors.New("not all arguments converted during string formatting")
	}
	return f.out.b.String(), nil
}

// isMappingLike reports whether Python treats v as a mapping here, which may remain unused.
func isMappingLike(v Value) bool {
	switch v.(type) {
	case *Dict, *List, *Undefined, *rangeValue:
		return true
	}
	return false
}

type percentFormat struct {
	r    *run
	text string
	args []Value
	dict *Dict
	used int
	out  *sink
}

func (f *percentFormat) run() error {
	for {
		before, rest, found := strings.Cut(f.text, "%")
		if err := f.out.write(before); err != nil {
			return err
		}
		if !found {
			return nil
		}
		f.text = rest
		if err := f.one(); err != nil {
			return err
		}
	}
}

func (f *percentFormat) one() error {
	var key Value
	if strings.HasPrefix(f.text, "(") {
		end := strings.IndexByte(f.text, ')')
		if end < 0 {
			return errors.New("incomplete format key")
		}
		if f.dict == nil {
			return errors.New("format requires a mapping")
		}
		name := f.text[1:end]
		v, ok := f.dict.Get(name)
		if !ok {
			return fmt.Errorf("KeyError: '%s'", name)
		}
		key, f.text = &keyed{v}, f.text[end+1:]
	}
	c, err := f.conversion()
	if err != nil {
		return err
	}
	if c.verb == '%' {
		return f.out.write("%")
	}
	v, err := f.argument(key)
	if err != nil {
		return err
	}
	text, err := f.r.percented(c, v)
	if err != nil {
		return err
	}
	return f.out.write(text)
}

// keyed is a value found by its key; it may be nil.
type keyed struct{ v Value }

func (f *percentFormat) argument(key Value) (Value, error) {
	if k, ok := key.(*keyed); ok {
		return k.v, nil
	}
	if f.used >= len(f.args) {
		return nil, errors.New("not enough arguments for format string")
	}
	f.used++
	return f.args[f.used-1], nil
}

func (f *percentFormat) conversion() (conversion, error) {
	c := conversion{fill: ' ', align: '>', precision: -1}
	for f.text != "" && strings.IndexByte("-+ #0", f.text[0]) >= 0 {
		switch f.text[0] {
		case '-':
			c.align = '<'
		case '+':
			c.sign = '+'
		case ' ':
			if c.sign == 0 {
				c.sign = ' '
			}
		case '#':
			c.alternate = true
		case '0':
			c.fill = '0'
		}
		f.text = f.text[1:]
	}
	var err error
	if c.width, err = f.number(); err != nil {
		return c, err
	}
	if c.width < 0 {
		c.width, c.align = -c.width, '<'
	}
	if strings.HasPrefix(f.text, ".") {
		f.text = f.text[1:]
		if c.precision, err = f.number(); err != nil {
			return c, err
		}
		c.precision = max(c.precision, 0)
	}
	f.text = strings.TrimLeft(f.text, "hlL")
	if f.text == "" {
		return c, errors.New("incomplete format")
	}
	c.verb, f.text = f.text[0], f.text[1:]
	return c, nil
}

func (f *percentFormat) number() (int, error) {
	if strings.HasPrefix(f.text, "*") {
		f.text = f.text[1:]
		v, err := f.argument(nil)
		if err != nil {
			return 0, err
		}
		n, ok := asInt(v)
		if !ok {
			return 0, errors.New("* wants int")
		}
		return int(min(max(n, -1<<40), 1<<40)), nil
	}
	n, rest := leadingNumber(f.text)
	f.text = rest
	return n, nil
}

// leadingNumber parses leading decimal digits; the result saturates.
func leadingNumber(s string) (int, string) {
	rest := strings.TrimLeft(s, "0123456789")
	n, err := strconv.Atoi(s[:len(s)-len(rest)])
	if err != nil && len(rest) < len(s) {
		n = 1 << 40
	}
	return n, rest
}

func (r *run) percented(c conversion, v Value) (string, error) {
	if c.align == '<' {
		c.fill = ' '
	}
	switch c.verb {
	case 's', 'r', 'a':
		text, err := r.represented(c.verb, v)
		if err != nil {
			return "", err
		}
		c.fill = ' '
		return r.padded(c, cutText(text, c.precision), '>')
	case 'c':
		text, ok := asText(v)
		if n, isInt := asInt(v); isInt && n >= 0 && n <= 0x10ffff {
			text, ok = string(rune(n)), true
		}
		if !ok || runeCount(text) != 1 {
			return "", errors.New("%c requires int or char")
		}
		c.fill = ' '
		return r.padded(c, text, '>')
	case 'd', 'i', 'u':
		if f, ok := v.(float64); ok {
			whole, err := floatToInt(f)
			if err != nil {
				return "", err
			}
			v = whole
		}
		c.verb = 'd'
	case 'x', 'X', 'o':
	case 'e', 'E', 'f', 'F', 'g', 'G':
	default:
		return "", fmt.Errorf("unsupported format character '%c'", c.verb)
	}
	return r.percentNumber(c, v)
}

func (r *run) percentNumber(c conversion, v Value) (string, error) {
	if c.fill == '0' {
		c.align = '='
	}
	if strings.IndexByte("dxXo", c.verb) >= 0 {
		n, ok := asBig(v)
		if !ok {
			return "", fmt.Errorf("%%%c format: a real number is required, not %s", c.verb, typeName(v))
		}
		if c.precision > maxDigits {
			return "", errors.New("precision too large")
		}
		return r.integer(c, n)
	}
	x, ok := asFloat(v)
	if !ok {
		return "", fmt.Errorf("must be real number, not %s", typeName(v))
	}
	return r.float(c, x)
}

func (r *run) represented(verb byte, v Value) (string, error) {
	if verb == 's' {
		return r.text(v)
	}
	s := &sink{r: r}
	err := s.repr(v, 0)
	text := s.b.String()
	if verb == 'a' {
		text = asciiOnly(text)
	}
	return text, err
}

func asciiOnly(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			b.WriteString(hexEscape(c))
		}
	}
	return b.String()
}

// hexEscape is Python's escape of a character by its number.
func hexEscape(c rune) string {
	switch {
	case c <= 0xff:
		return fmt.Sprintf(`\x%02x`, c)
	case c <= 0xffff:
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\U%08x`, c)
}

func cutText(s string, precision int) string {
	if precision < 0 {
		return s
	}
	return byRunes(s, 0, int64(precision))
}

func floatToInt(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("cannot convert float infinity or NaN to integer")
	}
	b, _ := big.NewFloat(f).Int(nil)
	return shortInt(b), nil
}

// padded pads a text to its width.
func (r *run) padded(c conversion, text string, own byte) (string, error) {
	n := c.width - runeCount(text)
	if n <= 0 {
		return text, nil
	}
	if err := r.allocate(len(text) + 4*n); err != nil {
		return "", err
	}
	align := c.align
	if align == 0 {
		align = own
	}
	fill := string(c.fill)
	switch align {
	case '<':
		return text + strings.Repeat(fill, n), nil
	case '^':
		return strings.Repeat(fill, n/2) + text + strings.Repeat(fill, n-n/2), nil
	case '=':
		head := len(text) - len(strings.TrimLeft(text, "+- "))
		if len(text) > head+1 && text[head] == '0' && strings.IndexByte("xXob", text[head+1]) >= 0 {
			head += 2
		}
		return text[:head] + strings.Repeat(fill, n) + text[head:], nil
	}
	return strings.Repeat(fill, n) + text, nil
}

// integer formats an int with d, x, X, o, b, c or n.
func (r *run) integer(c conversion, n *big.Int) (string, error) {
	base, prefix := 10, ""
	switch c.verb {
	case 'x', 'X':
		base, prefix = 16, "0"+string(c.verb)
	case 'o':
		base, prefix = 8, "0o"
	case 'b':
		base, prefix = 2, "0b"
	}
	text := new(big.Int).Abs(n).Text(base)
	if c.verb == 'X' {
		text = strings.ToUpper(text)
	}
	if c.precision > len(text) {
		text = strings.Repeat("0", c.precision-len(text)) + text
	}
	if c.comma != 0 {
		text = grouped(text, c.comma)
	}
	if c.alternate {
		text = prefix + text
	}
	return r.padded(c, signOf(c, n.Sign() < 0)+text, '>')
}

func signOf(c conversion, negative bool) string {
	switch {
	case negative:
		return "-"
	case c.sign == '+' || c.sign == ' ':
		return string(c.sign)
	}
	return ""
}

// grouped inserts a thousands separator.
func grouped(text string, mark byte) string {
	whole, rest := text, ""
	if i := strings.IndexAny(text, ".e"); i >= 0 {
		whole, rest = text[:i], text[i:]
	}
	var b strings.Builder
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(mark)
		}
		b.WriteByte(whole[i])
	}
	return b.String() + rest
}

// float formats a float with e, f, g or %, or like repr without a verb.
func (r *run) float(c conversion, x float64) (string, error) {
	if c.precision > 1000 {
		return "", errors.New("precision too big")
	}
	text := floatBody(c, math.Abs(x))
	if c.comma != 0 {
		text = grouped(text, c.comma)
	}
	negative := math.Signbit(x) && !math.IsNaN(x)
	if math.IsInf(x, 0) || math.IsNaN(x) {
		if c.align == '=' && c.fill == '0' {
			c.align, c.fill = '>', ' '
		}
	}
	return r.padded(c, signOf(c, negative)+text, '>')
}

func floatBody(c conversion, x float64) string {
	upper := strings.IndexByte("EFG", c.verb) >= 0
	text := ""
	precision := c.precision
	if precision < 0 {
		precision = 6
	}
	switch {
	case math.IsInf(x, 0):
		text = "inf"
	case math.IsNaN(x):
		text = "nan"
	case c.verb == '%':
		return strconv.FormatFloat(x*100, 'f', precision, 64) + "%"
	case c.verb == 'f' || c.verb == 'F':
		text = strconv.FormatFloat(x, 'f', precision, 64)
	case c.verb == 'e' || c.verb == 'E':
		text = strconv.FormatFloat(x, 'e', precision, 64)
	case c.verb == 0 && c.precision < 0:
		text = floatText(x)
	default:
		text = general(c, x, max(precision, 1))
	}
	if upper {
		return strings.ToUpper(text)
	}
	return text
}

// general formats with %g: without trailing zeros, with an exponent if that is shorter.
func general(c conversion, x float64, precision int) string {
	e := strconv.FormatFloat(x, 'e', precision-1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	limit := precision
	if c.verb == 0 { // like g, but with a digit after the point
		limit--
	}
	if exp < -4 || exp >= max(limit, 1) && (c.verb != 0 || exp >= limit) {
		digits := e[:at]
		if !c.alternate && strings.Contains(digits, ".") {
			digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
		}
		return digits + e[at:]
	}
	text := strconv.FormatFloat(x, 'f', max(precision-1-exp, 0), 64)
	if !c.alternate && strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if c.verb == 0 && !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
