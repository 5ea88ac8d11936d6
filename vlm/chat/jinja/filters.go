package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

type filterFunction func(r *run, v Value, args arguments) (Value, error)

// filterFunctions are jinja2's filters (jinja2/filters.py) except random, urlize, wordwrap,
// xmlattr and pprint. tojson is transformers'.
var filterFunctions map[string]filterFunction

func init() {
	filterFunctions = map[string]filterFunction{
		"abs": filterAbs, "attr": filterAttr, "batch": filterBatch, "capitalize": textFilter(capitalize), "center": filterCenter,
		"count": filterLength, "d": filterDefault, "default": filterDefault, "dictsort": filterDictSort, "e": filterEscape,
		"escape": filterEscape, "filesizeformat": filterFileSize, "first": filterFirst, "float": filterFloat,
		"forceescape": filterForceEscape, "format": filterFormat, "groupby": filterGroupBy, "indent": filterIndent,
		"int": filterInt, "join": filterJoin, "last": filterLast, "length": filterLength, "list": filterList,
		"lower": textFilter(lower), "items": filterItems, "map": filterMap, "min": minOrMax(false), "max": minOrMax(true),
		"reject": selecting(false, false), "rejectattr": selecting(false, true), "replace": filterReplace,
		"reverse": filterReverse, "round": filterRound, "safe": filterSafe, "select": selecting(true, false),
		"selectattr": selecting(true, true), "slice": filterSlice, "sort": filterSort, "string": filterString,
		"striptags": filterStripTags, "sum": filterSum, "title": textFilter(titleWords), "tojson": filterToJSON, "trim": filterTrim,
		"truncate": filterTruncate, "unique": filterUnique, "upper": textFilter(upper), "urlencode": filterURLEncode,
		"wordcount": filterWordCount,
	}
}

// soft is jinja2's soft_str, which preserves Markup.
func (r *run) soft(v Value) (string, error) { return r.text(v) }

func textFilter(f func(string) string) filterFunction {
	return func(r *run, v Value, a arguments) (Value, error) {
		if _, err := a.bind("filter", 0); err != nil {
			return nil, err
		}
		s, err := r.soft(v)
		if err != nil {
			return nil, err
		}
		return rewrap(v, f(s)), r.charge(len(s))
	}
}

var wordStarts = regexp.MustCompile(`[-\s({\[<]+`)

// titleWords implements the filter title: words start after spaces, hyphens and brackets.
func titleWords(s string) string {
	var b strings.Builder
	word := func(w string) {
		if w != "" {
			c := []rune(w)[0]
			b.WriteString(upper(string(c)) + lower(w[runeSize(w):]))
		}
	}
	for s != "" {
		at := wordStarts.FindStringIndex(s)
		if at == nil {
			word(s)
			break
		}
		word(s[:at[0]])
		b.WriteString(s[at[0]:at[1]])
		s = s[at[1]:]
	}
	return b.String()
}

func filterAbs(_ *run, v Value, a arguments) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	if f, ok := v.(float64); ok {
		return math.Abs(f), nil
	}
	b, ok := asBig(v)
	if !ok {
		return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(v))
	}
	return shortInt(new(big.Int).Abs(b)), nil
}

func filterAttr(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("attr", 1, "name")
	if err != nil {
		return nil, err
	}
	name, err := textArg("attr", p[0])
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*Undefined); ok {
		return undefinedAttr(u, name)
	}
	if found, ok := r.member(v, name); ok {
		return found, nil
	}
	return noAttribute(v, name), nil
}

func filterCenter(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("center", 0, "width")
	if err != nil {
		return nil, err
	}
	s, err := r.soft(v)
	if err != nil {
		return nil, err
	}
	width, ok := asInt(orElse(p[0], int64(80)))
	if !ok {
		return nil, errors.New("center takes a width")
	}
	s, err = r.centered(s, width, ' ')
	return rewrap(v, s), err
}

func filterLength(_ *run, v Value, a arguments) (Value, error) {
	n, ok := length(v)
	if !ok {
		return nil, fmt.Errorf("object of type '%s' has no len()", typeName(v))
	}
	return int64(n), nil
}

func filterDefault(_ *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("default", 0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	if _, undefined := v.(*Undefined); undefined || truth(orElse(p[1], false)) && !truth(v) {
		return orElse(p[0], ""), nil
	}
	return v, nil
}

func filterEscape(r *run, v Value, _ arguments) (Value, error) { return r.escaped(v) }

func filterForceEscape(r *run, v Value, _ arguments) (Value, error) {
	s, err := r.soft(v)
	if err != nil {
		return nil, err
	}
	return r.escaped(s)
}

func filterSafe(r *run, v Value, _ arguments) (Value, error) {
	s, err := r.text(v)
	return markup(s), err
}

func filterString(r *run, v Value, _ arguments) (Value, error) {
	s, err := r.text(v)
	return rewrap(v, s), err
}

func filterFileSize(_ *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("filesizeformat", 0, "binary")
	if err != nil {
		return nil, err
	}
	bytes, err := toFloat(v)
	if err != nil {
		return nil, err
	}
	base, suffix := 1000.0, "B"
	prefixes := []string{"k", "M", "G", "T", "P", "E", "Z", "Y"}
	if truth(orElse(p[0], false)) {
		base, suffix = 1024, "iB"
		prefixes[0] = "K"
	}
	if bytes == 1 {
		return "1 Byte", nil
	}
	if bytes < base {
		return fmt.Sprintf("%d Bytes", int64(bytes)), nil
	}
	unit := base
	for i, prefix := range prefixes {
		unit *= base
		if bytes < unit || i == len(prefixes)-1 {
			return fmt.Sprintf("%.1f %s%s", base*bytes/unit, prefix, suffix), nil
		}
	}
	return nil, nil
}

func filterFormat(r *run, v Value, a arguments) (Value, error) {
	if len(a.args) > 0 && len(a.names) > 0 {
		return nil, errors.New("can't handle positional and keyword arguments at the same time")
	}
	s, err := r.soft(v)
	if err != nil {
		return nil, err
	}
	var with Value = &Tuple{Items: a.args}
	if len(a.names) > 0 {
		d := NewDict()
		for i, name := range a.names {
			d.Set(name, a.values[i])
		}
		with = d
	}
	s, err = r.percent(s, with)
	return rewrap(v, s), err
}

func filterIndent(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("indent", 0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	s, err := textArg("indent", v)
	if err != nil {
		return nil, err
	}
	indent, ok := asText(orElse(p[0], int64(4)))
	if !ok {
		width, isInt := asInt(orElse(p[0], int64(4)))
		if !isInt {
			return nil, errors.New("indent takes a width or a text")
		}
		if err := r.allocate(int(max(width, 0))); err != nil {
			return nil, err
		}
		indent = strings.Repeat(" ", int(max(width, 0)))
	}
	blank := truth(orElse(p[2], false))
	out := &sink{r: r}
	for i, line := range lines(s+"\n", false) {
		head := ""
		if i > 0 {
			head = "\n"
		}
		if i > 0 && (line != "" || blank) || i == 0 && truth(orElse(p[1], false)) {
			head += indent
		}
		if err := out.write(head + line); err != nil {
			return nil, err
		}
	}
	return rewrap(v, out.b.String()), nil
}

func filterReplace(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	var texts [3]string
	for i, one := range []Value{v, p[0], p[1]} {
		if texts[i], err = r.text(one); err != nil {
			return nil, err
		}
	}
	if p[2] == nil {
		p[2] = absent{}
	}
	return r.replace(texts[0], texts[1], texts[2], p[2])
}

var (
	htmlComment = regexp.MustCompile(`(?s)<!--.*?-->`)
	htmlTag     = regexp.MustCompile(`(?s)<.*?>`)
)

func filterStripTags(r *run, v Value, _ arguments) (Value, error) {
	s, err := r.text(v)
	if err != nil {
		return nil, err
	}
	s = htmlTag.ReplaceAllString(htmlComment.ReplaceAllString(s, ""), "")
	s = strings.Join(strings.FieldsFunc(s, isSpace), " ")
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#39;", "'", "&#34;", `"`, "&quot;", `"`, "&amp;", "&").Replace(s), nil
}

func filterTrim(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("trim", 0, "chars")
	if err != nil {
		return nil, err
	}
	s, err := r.soft(v)
	if err != nil {
		return nil, err
	}
	if chars := orElse(p[0], nil); chars != nil {
		cutset, err := textArg("trim", chars)
		return rewrap(v, strings.Trim(s, cutset)), err
	}
	return rewrap(v, strings.TrimFunc(s, isSpace)), nil
}

func filterTruncate(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("truncate", 0, "length", "killwords", "end", "leeway")
	if err != nil {
		return nil, err
	}
	n, ok := length(v)
	if !ok {
		return nil, fmt.Errorf("object of type '%s' has no len()", typeName(v))
	}
	length, okLength := asInt(orElse(p[0], int64(255)))
	end, okEnd := asText(orElse(p[2], "..."))
	leeway, okLeeway := asInt(orElse(p[3], int64(5)))
	space := length - int64(runeCount(end))
	if !okLength || !okEnd || !okLeeway || space < 0 || leeway < 0 {
		return nil, errors.New("the length of truncate must not be shorter than its end")
	}
	if int64(n) <= length+leeway {
		return v, nil
	}
	s, err := textArg("truncate", v)
	if err != nil {
		return nil, err
	}
	head := byRunes(s, 0, space)
	if !truth(orElse(p[1], false)) {
		if i := strings.LastIndex(head, " "); i >= 0 {
			head = head[:i]
		}
	}
	return rewrap(v, head+end), r.allocate(len(head) + len(end))
}

func filterURLEncode(r *run, v Value, _ arguments) (Value, error) {
	if _, isText := asText(v); isText || !isIterable(v) {
		return r.urlQuoted(v, false)
	}
	pairs, err := r.items(v)
	if d, ok := v.(*Dict); ok {
		pairs = d.pairs()
	}
	if err != nil {
		return nil, err
	}
	out := &sink{r: r}
	for i, pair := range pairs {
		two, err := r.items(pair)
		if err != nil {
			return nil, err
		}
		if len(two) != 2 {
			return nil, errors.New("urlencode takes pairs")
		}
		key, err := r.urlQuoted(two[0], true)
		if err != nil {
			return nil, err
		}
		value, err := r.urlQuoted(two[1], true)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			key = "&" + key
		}
		if err := out.write(key + "=" + value); err != nil {
			return nil, err
		}
	}
	return out.b.String(), nil
}

// urlQuoted is jinja2's url_quote.
func (r *run) urlQuoted(v Value, query bool) (string, error) {
	s, err := r.text(v)
	if err != nil {
		return "", err
	}
	if err := r.charge(3 * len(s)); err != nil {
		return "", err
	}
	s = url.QueryEscape(s)
	if query {
		return s, nil
	}
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(s), nil
}

func filterWordCount(r *run, v Value, _ arguments) (Value, error) {
	s, err := r.soft(v)
	words := strings.FieldsFunc(s, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsNumber(c) })
	return int64(len(words)), err
}
