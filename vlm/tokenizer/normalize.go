package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func parseNormalizer(raw json.RawMessage, depth int) (nfc bool, err error) {
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if isNull(raw) {
		return false, nil
	}
	if depth > maxNesting {
		return false, &UnsupportedError{fmt.Sprintf("a normalizer that is nested more than %d times", maxNesting)}
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return false, &FormatError{"normalizer: " + err.Error()}
	}
	switch n.Type {
	case "NFC":
		return true, nil
	case "Sequence":
		for _, part := range n.Normalizers {
			one, err := parseNormalizer(part, depth+1)
			if err != nil {
				return false, err
			}
			nfc = nfc || one
		}
		return nfc, nil
	}
	return false, &UnsupportedError{"normalizer " + n.Type}
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// normalized is a text and, where it differs from what it was made of, the place
// that each of its bytes came from.
type normalized struct {
	text string
	from []int32 // len(text)+1; nil: the same places
}

func (n normalized) source(at int) int {
	if n.from == nil {
		return at
	}
	return int(n.from[at])
}

// char is a character of class ccc that came from the byte offset from.
type char struct {
	r    rune
	ccc  uint8
	from int32
}

// toNFC composes text as Unicode's UAX #15 says. The norm package's own String
// would put a joiner into every run of more than 30 marks (its stream-safe form),
// which Hugging Face does not.
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

// decompose gives the canonical decomposition, marks in canonical order.
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

// compose joins each mark to the last starter unless a mark between them blocks it.
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
