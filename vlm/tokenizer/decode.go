package tokenizer

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder is how tokens become text: the byte-level alphabet becomes bytes, or else a text is
// replaced (U+2581 by a space) and <0xXX> becomes a byte.
type decoder struct {
	byteLevel bool
	old, by   string // old "": nothing is replaced
}

type decoderFile struct {
	Type     string            `json:"type"`
	Decoders []json.RawMessage `json:"decoders"`
	replacement
}

func parseDecoder(raw json.RawMessage) (d decoder, err error) {
	var f decoderFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return d, &FormatError{"decoder: " + err.Error()}
	}
	switch f.Type {
	case "ByteLevel":
		return decoder{byteLevel: true}, nil
	case "Sequence":
		return parseDecoders(f.Decoders)
	}
	return d, &UnsupportedError{"decoder " + f.Type}
}

// parseDecoders parses the decoder of SentencePiece's BPE: Replace, ByteFallback, Fuse.
func parseDecoders(parts []json.RawMessage) (d decoder, err error) {
	fallback := false
	for _, raw := range parts {
		var f decoderFile
		if err := json.Unmarshal(raw, &f); err != nil {
			return d, &FormatError{"decoder: " + err.Error()}
		}
		switch {
		case f.Type == "Replace" && d.old == "" && !fallback:
			if err := f.check(); err != nil {
				return d, err
			}
			d.old, d.by = *f.Pattern.String, f.Content
		case f.Type == "ByteFallback" && !fallback:
			fallback = true
		case f.Type == "Fuse" && fallback:
		default:
			return d, &UnsupportedError{"decoder " + f.Type + " at this place of a Sequence"}
		}
	}
	if !fallback {
		return d, &UnsupportedError{"a decoder without ByteLevel and ByteFallback"}
	}
	return d, nil
}

// Decode returns the text of ids. Unknown ids are skipped, and special tokens too if
// skipSpecial. Each maximal subpart of invalid UTF-8 becomes one U+FFFD; with SentencePiece's BPE
// each of its bytes does, as in SentencePiece.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var raw []byte
	for _, id := range ids {
		raw = t.appendBytes(raw, id, skipSpecial)
	}
	text, rest := t.decoder.appendText(nil, raw)
	return string(append(text, t.decoder.incomplete(rest)...))
}

// Bytes returns the bytes of a token, nil for an unknown id.
func (t *Tokenizer) Bytes(id int32) []byte { return t.appendBytes(nil, id, false) }

// appendBytes appends the bytes of a token. A token with a character outside the byte-level
// alphabet is its own text.
func (t *Tokenizer) appendBytes(raw []byte, id int32, skipSpecial bool) []byte {
	if !t.known(id) || skipSpecial && t.special[id] {
		return raw
	}
	if !t.decoder.byteLevel {
		return t.decoder.appendPiece(raw, t.tokens[id])
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

// appendPiece appends the bytes of a token of SentencePiece's BPE.
func (d decoder) appendPiece(raw []byte, token string) []byte {
	if len(token) == len("<0xXX>") && strings.HasPrefix(token, "<0x") && token[5] == '>' {
		if b, err := strconv.ParseUint(token[3:5], 16, 8); err == nil {
			return append(raw, byte(b))
		}
	}
	if d.old != "" {
		token = strings.ReplaceAll(token, d.old, d.by)
	}
	return append(raw, token...)
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
	text, rest := s.t.decoder.appendText(nil, s.t.appendBytes(s.rest, id, s.skipSpecial))
	s.rest = rest
	return string(text)
}

// Flush ends the text. It returns U+FFFD for an incomplete character, else "".
func (s *Stream) Flush() string {
	text := s.t.decoder.incomplete(s.rest)
	s.rest = nil
	return text
}

// incomplete is the text of an incomplete character at the end.
func (d decoder) incomplete(rest []byte) string {
	if d.byteLevel {
		return strings.Repeat("\uFFFD", min(1, len(rest)))
	}
	return strings.Repeat("\uFFFD", len(rest))
}

// appendText appends raw as valid UTF-8. rest is an incomplete character at the end of raw.
func (d decoder) appendText(text, raw []byte) (_, rest []byte) {
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if r == utf8.RuneError && size == 1 {
			var open bool
			if size, open = invalid(raw); open {
				return text, raw
			}
			if !d.byteLevel {
				size = 1
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
