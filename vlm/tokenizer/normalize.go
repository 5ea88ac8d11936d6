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
		return false, &UnsupportedError{fmt.Sprintf("a normalizer nested more than %d levels deep", maxNesting)}
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
