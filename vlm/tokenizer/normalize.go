package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a text.
type normalizer func(text string) normalized

// replacement is a Replace of a normalizer or a decoder: a fixed text for another.
type replacement struct {
	Pattern struct {
		String *string
		Regex  *string
	} `json:"pattern"`
	Content string `json:"content"`
}

func (r replacement) check() error {
	switch {
	case r.Pattern.String == nil:
		return &UnsupportedError{"Replace of anything but a fixed text"}
	case *r.Pattern.String == "":
		return &FormatError{"Replace has an empty pattern"}
	case len(r.Content) > maxReplacement:
		return &UnsupportedError{fmt.Sprintf("Replace by more than %d bytes", maxReplacement)}
	}
	return nil
}

// maxReplacement limits by how much a replacement makes a text longer; SentencePiece's has 3 bytes.
const maxReplacement = 4 // bytes

// maxNormalizers limits the stages of a normalizer. Published ones have up to three.
const maxNormalizers = 3

func parseNormalizer(raw json.RawMessage, depth int) ([]normalizer, error) {
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
		replacement
	}
	if isNull(raw) {
		return nil, nil
	}
	if depth > maxNesting {
		return nil, &UnsupportedError{fmt.Sprintf("a normalizer nested more than %d levels deep", maxNesting)}
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, &FormatError{"normalizer: " + err.Error()}
	}
	switch n.Type {
	case "NFC":
		return []normalizer{toNFC}, nil
	case "Replace":
		return []normalizer{func(text string) normalized { return replaceAll(text, *n.Pattern.String, n.Content) }}, n.check()
	case "Sequence":
		var all []normalizer
		for _, part := range n.Normalizers {
			some, err := parseNormalizer(part, depth+1)
			if err != nil {
				return nil, err
			}
			if all = append(all, some...); len(all) > maxNormalizers {
				return nil, &UnsupportedError{fmt.Sprintf("a normalizer of more than %d stages", maxNormalizers)}
			}
		}
		return all, nil
	}
	return nil, &UnsupportedError{"normalizer " + n.Type}
}

// normalizeAll applies normalizers one after another.
func normalizeAll(all []normalizer, text string) normalized {
	out := normalized{text: text}
	for _, one := range all {
		next := one(out.text)
		for i := range next.from {
			next.from[i] = int32(out.source(int(next.from[i])))
		}
		if next.from == nil {
			next.from = out.from
		}
		out = next
	}
	return out
}

// replaceAll replaces every occurrence of a text. All bytes of a replacement have the offset of what
// it replaces.
func replaceAll(text, old, by string) normalized {
	count := strings.Count(text, old)
	if count == 0 {
		return normalized{text: text}
	}
	size := len(text) + count*(len(by)-len(old))
	out, from := make([]byte, 0, size), make([]int32, 0, size+1)
	for at := 0; at < len(text); {
		if strings.HasPrefix(text[at:], old) {
			out = append(out, by...)
			for range len(by) {
				from = append(from, int32(at))
			}
			at += len(old)
			continue
		}
		out, from = append(out, text[at]), append(from, int32(at))
		at++
	}
	return normalized{string(out), append(from, int32(len(text)))}
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// normalized is a normalized text with the offset of each byte in the source text.
type normalized struct {
	text string
	from []int32 // len(text)+1 offsets; nil: the text is unchanged
}

func (n normalized) source(at int) int {
	if n.from == nil {
		return at
	}
	return int(n.from[at])
}

// char is a character with its canonical combining class and its byte offset in the source.
type char struct {
	r    rune
	ccc  uint8
	from int32
}

// toNFC returns the NFC form of text (UAX #15). norm.NFC.String is not used because it
// inserts a joiner into runs of more than 30 combining marks (the stream-safe format), which
// Hugging Face does not.
func toNFC(text string) normalized {
	if norm.NFC.QuickSpanString(text) == len(text) {
		return normalized{text: text}
	}
	chars := compose(decompose(text))
	var b strings.Builder
	var from []int32
	for _, c := range chars {
		b.WriteRune(c.r)
		for range utf8.RuneLen(c.r) {
			from = append(from, c.from)
		}
	}
	return normalized{b.String(), append(from, int32(len(text)))}
}

// decompose returns the canonical decomposition, with combining marks in canonical order.
func decompose(text string) []char {
	var chars []char
	for at, r := range text {
		for _, d := range norm.NFD.String(string(r)) {
			chars = append(chars, char{d, norm.NFD.PropertiesString(string(d)).CCC(), int32(at)})
		}
	}
	for lo := 0; lo < len(chars); {
		hi := lo + 1
		for hi < len(chars) && chars[hi].ccc != 0 {
			hi++
		}
		if chars[lo].ccc != 0 {
			lo-- // marks without a base at the start
		}
		slices.SortStableFunc(chars[lo+1:hi], func(a, b char) int { return int(a.ccc) - int(b.ccc) })
		lo = hi
	}
	return chars
}

// compose composes each mark with the last starter, unless a mark in between blocks it.
func compose(chars []char) []char {
	out := chars[:0]
	starter := -1
	for _, c := range chars {
		if starter >= 0 {
			adjacent := starter == len(out)-1
			blocked := !adjacent && out[len(out)-1].ccc >= c.ccc
			if r, ok := primary(out[starter].r, c.r); ok && !blocked {
				out[starter].r = r
				continue
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// primary returns the primary composite of two characters, if they have one.
func primary(a, b rune) (rune, bool) {
	if !norm.NFC.PropertiesString(string(b)).BoundaryBefore() {
		s := norm.NFC.String(string(a) + string(b))
		r, size := utf8.DecodeRuneInString(s)
		return r, size == len(s)
	}
	return 0, false
}
