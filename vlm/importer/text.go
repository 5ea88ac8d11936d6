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

// What marks the beginning of a text in the other Unicode encodings. Those of UTF-32 come
// first: UTF-16's is the beginning of one.
var byteOrderMarks = []struct {
	bytes string
	form  textEncoding
}{
	{"\xff\xfe\x00\x00", littleEndian32}, {"\x00\x00\xfe\xff", bigEndian32}, {"\xff\xfe", littleEndian}, {"\xfe\xff", bigEndian},
}

// form is how a text is encoded.
type textEncoding int

const (
	plain textEncoding = iota // UTF-8, or something else that is refused
	littleEndian
	bigEndian
	littleEndian32
	bigEndian32
)

// formOf tells a text's encoding by its beginning: by its mark, or without one by the
// NUL bytes that UTF-16 puts beside every Latin letter.
func detectEncoding(head []byte) textEncoding {
	for _, m := range byteOrderMarks {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.form
		}
	}
	units := len(head) / 2
	var first, second int // NULs in the units' halves
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

// DecodeText makes a text of a file's bytes: UTF-8, or UTF-16 and UTF-32 that are known
// for certain, without their marks. Others are refused: which one it is, only the user
// knows. Its errors follow the name of what that is.
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
			return "", errors.New("is damaged UTF-32: write it anew in UTF-8")
		}
		return string(text), checkText(text)
	}
	b = bytes.TrimPrefix(b, []byte(byteOrderMark))
	return string(b), checkText(b)
}

// byteOrder is binary's, to read and to write.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func decodeUTF16(b []byte, order byteOrder) (string, error) {
	damaged := errors.New("is damaged UTF-16: write it anew in UTF-8")
	if len(b)%2 != 0 {
		return "", damaged
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	runes := utf16.Decode(units)
	text := []byte(strings.TrimPrefix(string(runes), byteOrderMark))
	if !bytes.Equal(b, encodeUTF16(runes, order)) { // half a surrogate pair
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

// checkText refuses what is no text in UTF-8. Its errors follow the name of what that is.
func checkText(b []byte) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errors.New("holds NUL bytes, which no text does: where it is UTF-16, convert it by iconv -f UTF-16LE -t UTF-8")
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
		return fmt.Errorf("is not in UTF-8: byte %d is %#02x; convert it, from Windows' western encoding by iconv -f WINDOWS-1252 -t UTF-8", at+1, b[at])
	}
	controls := 0
	for _, c := range b {
		if c < ' ' && !strings.ContainsRune("\t\n\v\f\r", rune(c)) {
			controls++
		}
	}
	if 4*controls >= len(b) && controls > 0 {
		return errors.New("is full of control characters: where it is UTF-16, convert it by iconv -f UTF-16LE -t UTF-8")
	}
	return nil
}

// checkControls refuses control characters that no text is written with: they come from
// terminals and from other encodings. Its errors follow the name of what holds them.
func checkControls(text string) error {
	for _, r := range text {
		switch {
		case !unicode.IsControl(r) || strings.ContainsRune("\t\n\r", r):
		case strings.Contains(text, "\x1b$B") || strings.Contains(text, "\x1b$@"):
			return errors.New("is in ISO-2022-JP: convert it by iconv -f ISO-2022-JP -t UTF-8")
		case r == 0:
			return errors.New("holds a NUL character")
		default:
			return fmt.Errorf("holds the control character %U: take it out, or convert the text to UTF-8 from what it is in", r)
		}
	}
	return nil
}

// asUTF8 reads a list as UTF-8. One in UTF-16 or UTF-32 is converted as a whole; whether
// another is UTF-8 at all is judged record by record.
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
