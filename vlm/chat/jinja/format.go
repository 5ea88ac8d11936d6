package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// formatter implements Python's str.format, as far as the sandbox allows it.
type formatter struct {
	r    *run
	args arguments
	dict *Dict // of format_map
	auto int   // index of the next {}; -1 after explicit numbering
	out  *sink
}

func (r *run) format(text string, args arguments, dict *Dict) (string, error) {
	f := &formatter{r: r, args: args, dict: dict, out: &sink{r: r}}
	err := f.run(text, 2)
	return f.out.b.String(), err
}

func (f *formatter) run(text string, depth int) error {
	for text != "" {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			return f.out.write(text)
		}
		if err := f.out.write(text[:i]); err != nil {
			return err
		}
		brace, rest := text[i], text[i+1:]
		if rest != "" && rest[0] == brace {
			if err := f.out.write(rest[:1]); err != nil {
				return err
			}
			text = rest[1:]
			continue
		}
		if brace == '}' {
			return errors.New("Single '}' encountered in format string")
		}
		end := fieldEnd(rest)
		if end < 0 {
			return errors.New("expected '}' before end of string")
		}
		if err := f.field(rest[:end], depth); err != nil {
			return err
		}
		text = rest[end+1:]
	}
	return nil
}

func fieldEnd(s string) int {
	open := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// field writes one replacement field: name!conversion:spec.
func (f *formatter) field(field string, depth int) error {
	if depth == 0 {
		return errors.New("Max string recursion exceeded")
	}
	name, spec := field, ""
	if i := strings.IndexAny(field, ":"); i >= 0 {
		name, spec = field[:i], field[i+1:]
	}
	name, conv, hasConv := strings.Cut(name, "!")
	v, err := f.value(name)
	if err != nil {
		return err
	}
	if hasConv {
		if len(conv) != 1 || !strings.Contains("sra", conv) {
			return fmt.Errorf("Unknown conversion specifier '%s'", conv)
		}
		text, err := f.r.represented(conv[0], v)
		if err != nil {
			return err
		}
		v = text
	}
	if strings.Contains(spec, "{") {
		inner := &formatter{r: f.r, args: f.args, dict: f.dict, auto: f.auto, out: &sink{r: f.r}}
		if err := inner.run(spec, depth-1); err != nil {
			return err
		}
		f.auto, spec = inner.auto, inner.out.b.String()
	}
	text, err := f.r.formatted(v, spec)
	if err != nil {
		return err
	}
	return f.out.write(text)
}

func (f *formatter) value(name string) (Value, error) {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	v, err := f.first(name[:end])
	if err != nil {
		return nil, err
	}
	for rest := name[end:]; rest != ""; {
		if rest[0] == '[' {
			key, after, ok := strings.Cut(rest[1:], "]")
			if !ok || key == "" {
				return nil, errors.New("Missing ']' in format string")
			}
			var index Value = key
			if n, err := strconv.Atoi(key); err == nil {
				index = int64(n)
			}
			if v, err = f.r.item(v, index); err != nil {
				return nil, err
			}
			rest = after
			continue
		}
		end := strings.IndexAny(rest[1:], ".[")
		attr := rest[1:]
		if end >= 0 {
			attr = rest[1 : 1+end]
		}
		if v, err = f.r.attribute(v, attr); err != nil {
			return nil, err
		}
		rest = rest[1+len(attr):]
	}
	return v, nil
}

func (f *formatter) first(name string) (Value, error) {
	n, err := strconv.Atoi(name)
	switch {
	case name == "":
		if f.auto < 0 {
			return nil, errors.New("cannot switch from manual field specification to automatic field numbering")
		}
		n = f.auto
		f.auto++
	case err == nil:
		if f.auto > 0 {
			return nil, errors.New("cannot switch from automatic field numbering to manual field specification")
		}
		f.auto = -1
	default:
		return f.byName(name)
	}
	if f.dict != nil {
		return nil, errors.New("Format string contains positional fields")
	}
	if n < 0 || n >= len(f.args.args) {
		return nil, fmt.Errorf("Replacement index %d out of range for positional args tuple", n)
	}
	return f.args.args[n], nil
}

func (f *formatter) byName(name string) (Value, error) {
	if f.dict != nil {
		if v, ok := f.dict.Get(name); ok {
			return v, nil
		}
	} else if v, ok := f.args.named(name); ok {
		return v, nil
	}
	return nil, fmt.Errorf("KeyError: '%s'", name)
}

// formatted returns Python's format(v, spec).
func (r *run) formatted(v Value, spec string) (string, error) {
	if spec == "" {
		return r.text(v)
	}
	c, err := parseSpec(spec)
	if err != nil {
		return "", err
	}
	if text, ok := asText(v); ok {
		if c.verb != 0 && c.verb != 's' || c.sign != 0 || c.comma != 0 || c.align == '=' {
			return "", fmt.Errorf("Invalid format specifier '%s' for object of type 'str'", spec)
		}
		return r.padded(c, cutText(text, c.precision), '<')
	}
	if _, isBool := v.(bool); isBool && c.verb == 0 {
		n, _ := asInt(v)
		v = n
	}
	if n, ok := asBig(v); ok && strings.IndexByte("eEfFgG%", c.verb) < 0 {
		if c.precision >= 0 {
			return "", errors.New("Precision not allowed in integer format specifier")
		}
		return r.formattedInt(c, n)
	}
	if x, ok := asFloat(v); ok {
		if c.verb != 0 && strings.IndexByte("eEfFgG%", c.verb) < 0 {
			return "", fmt.Errorf("Unknown format code '%c' for object of type 'float'", c.verb)
		}
		return r.float(c, x)
	}
	if u, ok := v.(*Undefined); ok {
		return "", u.err()
	}
	return "", fmt.Errorf("unsupported format string passed to %s.__format__", typeName(v))
}

func (r *run) formattedInt(c conversion, n *big.Int) (string, error) {
	switch c.verb {
	case 0, 'd', 'n', 'x', 'X', 'o', 'b':
		return r.integer(c, n)
	case 'c':
		if n.IsInt64() && n.Int64() >= 0 && n.Int64() <= 0x10ffff {
			return r.padded(c, string(rune(n.Int64())), '<')
		}
	}
	return "", fmt.Errorf("Unknown format code '%c' for object of type 'int'", c.verb)
}

// parseSpec parses [[fill]align][sign][#][0][width][,][.precision][type].
func parseSpec(spec string) (conversion, error) {
	c := conversion{fill: ' ', precision: -1}
	runes := []rune(spec)
	isAlign := func(i int) bool { return i < len(runes) && strings.ContainsRune("<>^=", runes[i]) }
	switch {
	case isAlign(1):
		c.fill, c.align = runes[0], byte(runes[1])
		spec = string(runes[2:])
	case isAlign(0):
		c.align = byte(runes[0])
		spec = string(runes[1:])
	}
	take := func(set string) byte {
		if spec != "" && strings.IndexByte(set, spec[0]) >= 0 {
			b := spec[0]
			spec = spec[1:]
			return b
		}
		return 0
	}
	c.sign = take("+- ")
	c.alternate = take("#") != 0
	if take("0") != 0 && c.align == 0 {
		c.fill, c.align = '0', '='
	}
	c.width, spec = leadingNumber(spec)
	c.comma = take(",_")
	if take(".") != 0 {
		if spec == "" || spec[0] < '0' || spec[0] > '9' {
			return c, errors.New("Format specifier missing precision")
		}
		c.precision, spec = leadingNumber(spec)
	}
	if len(spec) > 1 {
		return c, errors.New("Invalid format specifier")
	}
	if spec != "" {
		c.verb = spec[0]
	}
	if c.precision > 1<<20 {
		return c, errors.New("precision too big")
	}
	return c, nil
}
