package jinja

import (
	"errors"
	"strings"
)

// split is str.split or, with right, str.rsplit.
func (r *run) split(s string, a arguments, right bool) (Value, error) {
	v, err := a.bind("split", 0, "sep", "maxsplit")
	if err != nil {
		return nil, err
	}
	maxSplit, ok := asInt(orElse(v[1], int64(-1)))
	if !ok {
		return nil, errors.New("maxsplit must be an integer")
	}
	var parts []string
	if sep := orElse(v[0], nil); sep == nil {
		parts = splitSpaces(s, maxSplit, right)
	} else {
		text, err := textArg("split", sep)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, errors.New("empty separator")
		}
		parts = splitText(s, text, maxSplit, right)
	}
	return r.textList(parts)
}

func (r *run) textList(parts []string) (Value, error) {
	if err := r.charge(len(parts) * itemSize); err != nil {
		return nil, err
	}
	items := make([]Value, len(parts))
	for i, part := range parts {
		items[i] = part
	}
	return &List{items}, nil
}

func splitText(s, sep string, maxSplit int64, right bool) []string {
	if maxSplit < 0 {
		return strings.Split(s, sep)
	}
	maxSplit = min(maxSplit, int64(len(s)))
	if !right {
		return strings.SplitN(s, sep, int(maxSplit)+1)
	}
	var parts []string
	for ; maxSplit > 0; maxSplit-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return parts
}

func splitSpaces(s string, maxSplit int64, right bool) []string {
	words := strings.FieldsFunc(s, isSpace)
	if maxSplit < 0 || int64(len(words)) <= maxSplit {
		return words
	}
	n := int(maxSplit)
	if !right { // the rest keeps its inner and trailing spaces
		rest := s
		for _, word := range words[:n] {
			rest = rest[strings.Index(rest, word)+len(word):]
		}
		return append(words[:n:n], strings.TrimLeftFunc(rest, isSpace))
	}
	rest := s
	tail := words[len(words)-n:]
	for i := len(tail) - 1; i >= 0; i-- {
		rest = rest[:strings.LastIndex(rest, tail[i])]
	}
	return append([]string{strings.TrimRightFunc(rest, isSpace)}, tail...)
}

var lineEnds = "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"

// lines is str.splitlines.
func lines(s string, keep bool) []string {
	var out []string
	for s != "" {
		i := strings.IndexAny(s, lineEnds)
		if i < 0 {
			return append(out, s)
		}
		end := i + runeSize(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			end = i + 2
		}
		if keep {
			i = end
		}
		out = append(out, s[:i])
		s = s[end:]
	}
	return out
}

func splitLines(r *run, s string, a arguments) (Value, error) {
	v, err := a.bind("splitlines", 0, "keepends")
	if err != nil {
		return nil, err
	}
	return r.textList(lines(s, truth(orElse(v[0], false))))
}
