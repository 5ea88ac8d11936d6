package importer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode/utf32"
)

const byteOrderMark = "\uFEFF"

// byteOrderMarks are the byte order marks of the other Unicode encodings. UTF-32 comes
// first, since its little-endian mark starts with that of UTF-16.
var byteOrderMarks = []struct {
	bytes    string
	encoding textEncoding
}{
	{"\xff\xfe\x00\x00", littleEndian32}, {"\x00\x00\xfe\xff", bigEndian32}, {"\xff\xfe", littleEndian}, {"\xfe\xff", bigEndian},
}

// textEncoding is the encoding of a text.
type textEncoding int

const (
	plain textEncoding = iota // UTF-8, or another one that checkText rejects
	littleEndian
	bigEndian
	littleEndian32
	bigEndian32
)

// detectEncoding detects an encoding from the start of a text: by its byte order mark, or by
// the NUL bytes of Latin letters in UTF-16.
func detectEncoding(head []byte) textEncoding {
	for _, m := range byteOrderMarks {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.encoding
		}
	}
	units := len(head) / 2
	var first, second int // NULs in the first and second bytes of the units
	for i := range units {
		if head[2*i] == 0 {
			first++
		}
		if head[2*i+1] == 0 {
			second++
		}
	}
	switch {
	case units > 0 && first == 0 && 2*second >= units:
		return littleEndian
	case units > 0 && second == 0 && 2*first >= units:
		return bigEndian
	}
	return plain
}

// DecodeText decodes a text file in UTF-8, UTF-16 or UTF-32, without its byte order mark.
// Text in another encoding is an error, as it cannot be detected reliably. Errors are to be
// prefixed with the name of the text.
func DecodeText(b []byte) (string, error) {
	switch f := detectEncoding(b); f {
	case littleEndian:
		return decodeUTF16(b, binary.LittleEndian)
	case bigEndian:
		return decodeUTF16(b, binary.BigEndian)
	case littleEndian32, bigEndian32:
		order := utf32.LittleEndian
		if f == bigEndian32 {
			order = utf32.BigEndian
		}
		text, err := utf32.UTF32(order, utf32.ExpectBOM).NewDecoder().Bytes(b)
		if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
			return "", errors.New("is damaged UTF-32: rewrite it in UTF-8")
		}
		return string(text), checkText(text)
	}
	b = bytes.TrimPrefix(b, []byte(byteOrderMark))
	return string(b), checkText(b)
}

// byteOrder can both read and append.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func decodeUTF16(b []byte, order byteOrder) (string, error) {
	damaged := errors.New("is damaged UTF-16: rewrite it in UTF-8")
	if len(b)%2 != 0 {
		return "", damaged
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	runes := utf16.Decode(units)
	text := []byte(strings.TrimPrefix(string(runes), byteOrderMark))
	if !bytes.Equal(b, encodeUTF16(runes, order)) { // an unpaired surrogate
		return "", damaged
	}
	return string(text), checkText(text)
}

func encodeUTF16(runes []rune, order byteOrder) []byte {
	var out []byte
	for _, unit := range utf16.Encode(runes) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// checkText returns an error if b is not UTF-8 text. Errors are to be prefixed with the name
// of the text.
func checkText(b []byte) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errors.New("contains NUL bytes: if it is UTF-16, convert it with iconv -f UTF-16LE -t UTF-8")
	}
	if !utf8.Valid(b) {
		at := 0
		for at < len(b) {
			r, n := utf8.DecodeRune(b[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return fmt.Errorf("is not in UTF-8: byte %d is %#02x; convert it, for example with iconv -f WINDOWS-1252 -t UTF-8", at+1, b[at])
	}
	controls := 0
	for _, c := range b {
		if c < ' ' && !strings.ContainsRune("\t\n\v\f\r", rune(c)) {
			controls++
		}
	}
	if 4*controls >= len(b) && controls > 0 {
		return errors.New("is full of control characters: if it is UTF-16, convert it with iconv -f UTF-16LE -t UTF-8")
	}
	return nil
}

// checkControls returns an error for control characters other than tab and newlines, which
// come from terminals or other encodings. Errors are to be prefixed with the name of the
// text.
func checkControls(text string) error {
	for _, r := range text {
		switch {
		case !unicode.IsControl(r) || strings.ContainsRune("\t\n\r", r):
		case strings.Contains(text, "\x1b$B") || strings.Contains(text, "\x1b$@"):
			return errors.New("is in ISO-2022-JP: convert it with iconv -f ISO-2022-JP -t UTF-8")
		case r == 0:
			return errors.New("contains a NUL character")
		default:
			return fmt.Errorf("contains the control character %U: remove it, or convert the text to UTF-8", r)
		}
	}
	return nil
}

// asUTF8 returns a reader of a list in UTF-8. A list in UTF-16 or UTF-32 is converted as a
// whole. Records of other lists are checked for valid UTF-8 one by one.
func asUTF8(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, _ := b.Peek(1 << 12)
	if detectEncoding(head[:len(head)&^1]) != plain {
		all, err := io.ReadAll(b)
		if err != nil {
			return nil, err
		}
		text, err := DecodeText(all)
		return bufio.NewReader(strings.NewReader(text)), err
	}
	if bytes.HasPrefix(head, []byte(byteOrderMark)) {
		b.Discard(len(byteOrderMark))
	}
	return b, nil
}
