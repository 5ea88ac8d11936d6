package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

type textMethod func(r *run, s string, args arguments) (Value, error)

// textMethods are the methods of Python's str, except encode and translation tables.
var textMethods map[string]textMethod

func init() {
	textMethods = map[string]textMethod{
		"capitalize": changed(capitalize), "casefold": changed(func(s string) string { return cases.Fold().String(s) }), "lower": changed(lower), "upper": changed(upper),
		"swapcase": changed(swapCase), "title": changed(titleCase),
		"strip":  stripped(strings.TrimFunc, strings.Trim),
		"lstrip": stripped(strings.TrimLeftFunc, strings.TrimLeft),
		"rstrip": stripped(strings.TrimRightFunc, strings.TrimRight),
		"split":  func(r *run, s string, a arguments) (Value, error) { return r.split(s, a, false) },
		"rsplit": func(r *run, s string, a arguments) (Value, error) { return r.split(s, a, true) },
		"join":   func(r *run, s string, a arguments) (Value, error) { return joinMethod(r, s, a) },
		"replace": func(r *run, s string, a arguments) (Value, error) {
			v, err := a.positional("replace", 2, 3)
			if err != nil {
				return nil, err
			}
			return r.replace(s, v[0], v[1], v[2])
		},
		"startswith":   affix("startswith", strings.HasPrefix),
		"endswith":     affix("endswith", strings.HasSuffix),
		"removeprefix": oneText("removeprefix", func(s, x string) Value { return strings.TrimPrefix(s, x) }),
		"removesuffix": oneText("removesuffix", func(s, x string) Value { return strings.TrimSuffix(s, x) }),
		"partition":    oneText("partition", partition),
		"rpartition":   oneText("rpartition", rpartition),
		"find":         finder("find", strings.Index, false), "rfind": finder("rfind", strings.LastIndex, false),
		"index": finder("index", strings.Index, true), "rindex": finder("rindex", strings.LastIndex, true),
		"count": counter, "splitlines": splitLines,
		"center": padding("center", '^'), "ljust": padding("ljust", '<'), "rjust": padding("rjust", '>'),
		"zfill": zeroFill, "expandtabs": expandTabs,
		"format": func(r *run, s string, a arguments) (Value, error) { return r.format(s, a, nil) },
		"format_map": func(r *run, s string, a arguments) (Value, error) {
			d, ok := orElse(first(a.args), nil).(*Dict)
			if !ok {
				return nil, errors.New("format_map() takes a mapping")
			}
			return r.format(s, a, d)
		},
		"isalnum":      every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		"isalpha":      every(unicode.IsLetter),
		"isdecimal":    every(unicode.IsDigit),
		"isdigit":      every(isDigit),
		"isnumeric":    every(unicode.IsNumber),
		"isspace":      every(isSpace),
		"isprintable":  test(func(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) < 0 }),
		"isascii":      test(func(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 }) < 0 }),
		"islower":      test(func(s string) bool { return cased(s, unicode.IsLower, unicode.IsUpper) }),
		"isupper":      test(func(s string) bool { return cased(s, unicode.IsUpper, unicode.IsLower) }),
		"istitle":      test(isTitle),
		"isidentifier": test(isIdentifier),
		"encode":       unsupportedMethod("encode"), "translate": unsupportedMethod("translate"), "maketrans": unsupportedMethod("maketrans"),
	}
}

// positional returns the arguments of a method without keyword arguments.
func (a arguments) positional(name string, required, limit int) ([]Value, error) {
	if len(a.names) > 0 {
		return nil, fmt.Errorf("str.%s() takes no keyword arguments", name)
	}
	if len(a.args) < required || len(a.args) > limit {
		return nil, fmt.Errorf("%s expected %d to %d arguments, got %d", name, required, limit, len(a.args))
	}
	out := make([]Value, limit)
	for i := range out {
		out[i] = absent{}
	}
	copy(out, a.args)
	return out, nil
}

func first(list []Value) Value {
	if len(list) == 0 {
		return absent{}
	}
	return list[0]
}

func textArg(name string, v Value) (string, error) {
	s, ok := asText(v)
	if !ok {
		return "", fmt.Errorf("%s: a str is required, not '%s'", name, typeName(v))
	}
	return s, nil
}

func changed(f func(string) string) textMethod {
	return func(r *run, s string, a arguments) (Value, error) {
		if _, err := a.positional("method", 0, 0); err != nil {
			return nil, err
		}
		if err := r.charge(len(s)); err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

// unsupportedMethod is a method of str that is not supported.
func unsupportedMethod(name string) textMethod {
	return func(*run, string, arguments) (Value, error) {
		return nil, fmt.Errorf("str.%s is not supported", name)
	}
}

func test(f func(string) bool) textMethod {
	return func(_ *run, s string, a arguments) (Value, error) {
		_, err := a.positional("method", 0, 0)
		return f(s), err
	}
}

// every returns a method that reports whether a text is not empty and f holds for all
// characters.
func every(f func(rune) bool) textMethod {
	return test(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0
	})
}

func isDigit(c rune) bool {
	return unicode.IsDigit(c) || c >= '⁰' && c <= '₉' && unicode.Is(unicode.No, c) || strings.ContainsRune("¹²³", c) || c >= '①' && c <= '⑨'
}

func cased(s string, is, not func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, not) < 0
}

// Python maps ß to SS, for example; Go maps single characters.
var specialUpper = strings.NewReplacer("ß", "SS", "ﬁ", "FI", "ﬂ", "FL", "ﬀ", "FF", "ﬃ", "FFI", "ﬄ", "FFL", "ŉ", "ʼN")

func upper(s string) string { return strings.ToUpper(specialUpper.Replace(s)) }

func lower(s string) string { return strings.ToLower(strings.ReplaceAll(s, "İ", "i̇")) }

func capitalize(s string) string {
	if s == "" {
		return s
	}
	c, n := utf8.DecodeRuneInString(s)
	return firstUpper(c, s[:n]) + lower(s[n:])
}

func firstUpper(c rune, text string) string {
	if c == 'ß' {
		return "Ss"
	}
	if c == utf8.RuneError {
		return text
	}
	return string(unicode.ToTitle(c))
}

func swapCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsUpper(c) {
			b.WriteRune(unicode.ToLower(c))
		} else {
			b.WriteString(upper(string(c)))
		}
	}
	return b.String()
}

// titleCase is str.title: upper case after each uncased character.
func titleCase(s string) string {
	inWord := false
	var b strings.Builder
	for _, c := range s {
		if inWord {
			b.WriteString(lower(string(c)))
		} else {
			b.WriteString(firstUpper(c, string(c)))
		}
		inWord = unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c)
	}
	return b.String()
}

func isTitle(s string) bool {
	return titleCase(s) == s && strings.IndexFunc(s, func(c rune) bool { return unicode.IsUpper(c) || unicode.IsTitle(c) }) >= 0
}

func isIdentifier(s string) bool {
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

func stripped(spaces func(string, func(rune) bool) string, set func(string, string) string) textMethod {
	return func(_ *run, s string, a arguments) (Value, error) {
		v, err := a.positional("strip", 0, 1)
		if err != nil {
			return nil, err
		}
		if chars := orElse(v[0], nil); chars != nil {
			cutset, err := textArg("strip", chars)
			return set(s, cutset), err
		}
		return spaces(s, isSpace), nil
	}
}

func oneText(name string, f func(s, x string) Value) textMethod {
	return func(_ *run, s string, a arguments) (Value, error) {
		v, err := a.positional(name, 1, 1)
		if err != nil {
			return nil, err
		}
		x, err := textArg(name, v[0])
		if err != nil {
			return nil, err
		}
		if x == "" && strings.HasSuffix(name, "partition") {
			return nil, errors.New("empty separator")
		}
		return f(s, x), nil
	}
}

func partition(s, sep string) Value {
	before, after, found := strings.Cut(s, sep)
	if !found {
		sep = ""
	}
	return &Tuple{Items: []Value{before, sep, after}}
}

func rpartition(s, sep string) Value {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return &Tuple{Items: []Value{"", "", s}}
	}
	return &Tuple{Items: []Value{s[:i], sep, s[i+len(sep):]}}
}

// within returns the part of a text from start to stop, in characters, and the number of
// characters before it.
func within(s string, start, stop Value) (string, int64, error) {
	start, stop = orElse(start, nil), orElse(stop, nil)
	if start == nil && stop == nil {
		return s, 0, nil
	}
	lo, hi, _, err := sliceBounds([3]Value{start, stop}, int64(runeCount(s)))
	if err != nil {
		return "", 0, err
	}
	return byRunes(s, lo, max(lo, hi)), lo, nil
}

func finder(name string, find func(s, x string) int, must bool) textMethod {
	return func(_ *run, s string, a arguments) (Value, error) {
		v, err := a.positional(name, 1, 3)
		if err != nil {
			return nil, err
		}
		x, err := textArg(name, v[0])
		if err != nil {
			return nil, err
		}
		part, before, err := within(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		i := find(part, x)
		switch {
		case i >= 0:
			return before + int64(runeCount(part[:i])), nil
		case must:
			return nil, errors.New("substring not found")
		}
		return int64(-1), nil
	}
}

func counter(_ *run, s string, a arguments) (Value, error) {
	v, err := a.positional("count", 1, 3)
	if err != nil {
		return nil, err
	}
	x, err := textArg("count", v[0])
	if err != nil {
		return nil, err
	}
	part, _, err := within(s, v[1], v[2])
	return int64(strings.Count(part, x)), err
}

func affix(name string, has func(s, x string) bool) textMethod {
	return func(_ *run, s string, a arguments) (Value, error) {
		v, err := a.positional(name, 1, 3)
		if err != nil {
			return nil, err
		}
		part, _, err := within(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		options := []Value{v[0]}
		if t, ok := v[0].(*Tuple); ok {
			options = t.Items
		}
		for _, one := range options {
			x, err := textArg(name, one)
			if err != nil || has(part, x) {
				return err == nil, err
			}
		}
		return false, nil
	}
}

func joinMethod(r *run, s string, a arguments) (Value, error) {
	v, err := a.positional("join", 1, 1)
	if err != nil {
		return nil, err
	}
	items, err := r.items(v[0])
	if err != nil {
		return nil, errors.New("can only join an iterable")
	}
	out := &sink{r: r}
	for i, item := range items {
		text, ok := asText(item)
		if !ok {
			return nil, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(item))
		}
		if i > 0 {
			text = s + text
		}
		if err := out.write(text); err != nil {
			return nil, err
		}
	}
	return out.b.String(), nil
}

// replace is str.replace.
func (r *run) replace(s string, old, new, count Value) (Value, error) {
	from, err := textArg("replace", old)
	if err != nil {
		return nil, err
	}
	to, err := textArg("replace", new)
	if err != nil {
		return nil, err
	}
	limit, ok := asInt(orElse(count, int64(-1)))
	if !ok {
		return nil, errors.New("the count of replace must be an integer")
	}
	times := strings.Count(s, from)
	if limit >= 0 {
		times = int(min(limit, int64(times)))
	}
	if grows := len(to) - len(from); grows > 0 && times > r.limits.Size/grows {
		return nil, r.checkSize(r.limits.Size + 1)
	}
	if err := r.allocate(len(s) + times*(len(to)-len(from))); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, times), nil
}

func padding(name string, align byte) textMethod {
	return func(r *run, s string, a arguments) (Value, error) {
		v, err := a.positional(name, 1, 2)
		if err != nil {
			return nil, err
		}
		width, ok := asInt(v[0])
		fill, isText := asText(orElse(v[1], " "))
		if !ok || !isText || runeCount(fill) != 1 {
			return nil, fmt.Errorf("%s takes a width and one character", name)
		}
		c, _ := utf8.DecodeRuneInString(fill)
		if align == '^' {
			return r.centered(s, width, c)
		}
		return r.padded(conversion{fill: c, align: align, width: int(min(width, 1<<40))}, s, align)
	}
}

// centered is str.center, with the extra character on the left if the width is odd.
func (r *run) centered(s string, width int64, fill rune) (string, error) {
	n := min(width, 1<<40) - int64(runeCount(s))
	if n <= 0 {
		return s, nil
	}
	left := n/2 + n&width&1
	text, err := r.padded(conversion{fill: fill, width: int(int64(runeCount(s)) + left)}, s, '>')
	if err != nil {
		return "", err
	}
	return r.padded(conversion{fill: fill, width: int(min(width, 1<<40))}, text, '<')
}

func zeroFill(r *run, s string, a arguments) (Value, error) {
	v, err := a.positional("zfill", 1, 1)
	if err != nil {
		return nil, err
	}
	width, ok := asInt(v[0])
	if !ok {
		return nil, errors.New("zfill takes a width")
	}
	sign := signAt(s, 0)
	text, err := r.padded(conversion{fill: '0', width: int(min(width, 1<<40)) - len(sign)}, s[len(sign):], '>')
	return sign + text, err
}

func expandTabs(r *run, s string, a arguments) (Value, error) {
	v, err := a.bind("expandtabs", 0, "tabsize")
	if err != nil {
		return nil, err
	}
	size, ok := asInt(orElse(v[0], int64(8)))
	if !ok || size > 1<<20 {
		return nil, errors.New("expandtabs takes a size")
	}
	out, column := &sink{r: r}, int64(0)
	for _, c := range s {
		text := string(c)
		switch {
		case c == '\t' && size > 0:
			text = strings.Repeat(" ", int(size-column%size))
			column = 0
		case c == '\t':
			text = ""
		case c == '\n' || c == '\r':
			column = 0
		default:
			column++
		}
		if err := out.write(text); err != nil {
			return nil, err
		}
	}
	return out.b.String(), nil
}
