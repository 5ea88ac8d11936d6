package tokenizer

import (
	"encoding/json"
	"unicode/utf8"
)

func checkDecoder(raw json.RawMessage) error {
	var d struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return &FormatError{"decoder: " + err.Error()}
	}
	if d.Type != "ByteLevel" {
		return &UnsupportedError{"decoder " + d.Type}
	}
	return nil
}

// Decode returns the text of ids. Unknown ids are skipped, and special tokens too if
// skipSpecial. Each maximal subpart of invalid UTF-8 becomes one U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var raw []byte
	for _, id := range ids {
		raw = t.appendBytes(raw, id, skipSpecial)
	}
	text, rest := appendText(nil, raw)
	if len(rest) > 0 {
		text = append(text, "\uFFFD"...)
	}
	return string(text)
}

// appendBytes appends the bytes of a token. A token with a character outside the byte-level
// alphabet is its own text.
func (t *Tokenizer) appendBytes(raw []byte, id int32, skipSpecial bool) []byte {
	if !t.known(id) || skipSpecial && t.special[id] {
		return raw
	}
	before := len(raw)
	for _, r := range t.tokens[id] {
		b, ok := charByte[r]
		if !ok {
			return append(raw[:before], t.tokens[id]...)
		}
		raw = append(raw, b)
	}
	return raw
}

// Stream decodes ids one at a time without splitting characters.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	rest        []byte // an incomplete character
}

// NewStream starts a stream; skipSpecial is as in Decode.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Next returns the text completed by id, which may be empty. The concatenated results, and
// that of Flush, equal Decode's.
func (s *Stream) Next(id int32) string {
	text, rest := appendText(nil, s.t.appendBytes(s.rest, id, s.skipSpecial))
	s.rest = rest
	return string(text)
}

// Flush ends the text. It returns U+FFFD for an incomplete character, else "".
func (s *Stream) Flush() string {
	if len(s.rest) == 0 {
		return ""
	}
	s.rest = nil
	return "\uFFFD"
}

// appendText appends raw as valid UTF-8. rest is an incomplete character at the end of raw.
func appendText(text, raw []byte) (_, rest []byte) {
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if r == utf8.RuneError && size == 1 {
			var open bool
			if size, open = invalid(raw); open {
				return text, raw
			}
		}
		text, raw = utf8.AppendRune(text, r), raw[size:]
	}
	return text, nil
}

// invalid returns the size of the maximal subpart at the start of raw (Unicode 15, section
// 3.9, U+FFFD substitution). open means that it extends to the end and more bytes could make
// it valid.
func invalid(raw []byte) (size int, open bool) {
	for size = 1; size < min(len(raw), utf8.UTFMax) && startsRune(raw[:size+1]); size++ {
	}
	return size, size == len(raw) && startsRune(raw)
}

// startsRune reports whether raw is an incomplete character.
func startsRune(raw []byte) bool { return !utf8.FullRune(raw) }
