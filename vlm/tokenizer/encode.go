package tokenizer

import "strings"

// Piece is a part of a text. A special token is recognised only if all of its bytes are
// trusted.
type Piece struct {
	Text    string
	Trusted bool
}

// Encode returns the ids of the concatenated pieces. Piece boundaries do not affect words
// and merges. No token is added at either end. The error is a *PatternError.
func (t *Tokenizer) Encode(pieces ...Piece) ([]int32, error) {
	ids, _, err := t.EncodeOffsets(pieces...)
	return ids, err
}

// EncodePlain encodes a text in which special tokens are ordinary text, such as a user's.
func (t *Tokenizer) EncodePlain(text string) ([]int32, error) { return t.Encode(Piece{Text: text}) }

// EncodeTrusted encodes a text in which special tokens are recognised.
func (t *Tokenizer) EncodeTrusted(text string) ([]int32, error) {
	return t.Encode(Piece{Text: text, Trusted: true})
}

// EncodeOffsets is like Encode and also returns the byte offset of each token in the
// concatenated text, after replacing invalid UTF-8 with U+FFFD. All bytes of a character that
// normalization changes have the offset of the original character.
func (t *Tokenizer) EncodeOffsets(pieces ...Piece) (ids, starts []int32, err error) {
	text, untrusted := join(pieces)
	e := encoder{t: t, untrusted: untrusted}
	t.exact.split(text, e.trusted,
		func(lo, hi int) { e.text(text[lo:hi], lo) },
		func(id int32, lo int) { e.put(id, lo) })
	if e.err != nil {
		return nil, nil, e.err
	}
	return e.ids, e.starts, nil
}

// span is the byte range [lo, hi).
type span struct{ lo, hi int }

func join(pieces []Piece) (text string, untrusted []span) {
	var b strings.Builder
	for _, p := range pieces {
		lo := b.Len()
		b.WriteString(strings.ToValidUTF8(p.Text, "\uFFFD"))
		if !p.Trusted {
			untrusted = append(untrusted, span{lo, b.Len()})
		}
	}
	return b.String(), untrusted
}

type encoder struct {
	t           *Tokenizer
	untrusted   []span // ascending; those before the last queried offset are dropped
	ids, starts []int32
	err         error // the first error; stops encoding
}

func (e *encoder) put(id int32, start int) {
	e.ids = append(e.ids, id)
	e.starts = append(e.starts, int32(start))
}

// trusted reports whether all bytes of text[lo:hi] are trusted. lo must not decrease
// between calls.
func (e *encoder) trusted(lo, hi int) bool {
	for len(e.untrusted) > 0 && e.untrusted[0].hi <= lo {
		e.untrusted = e.untrusted[1:]
	}
	return len(e.untrusted) == 0 || e.untrusted[0].lo >= hi
}

// text encodes the text between added tokens, which starts at offset base.
func (e *encoder) text(text string, base int) {
	norm := normalizeAll(e.t.normalize, text)
	e.t.normalized.split(norm.text,
		func(lo, hi int) bool { return e.trusted(base+norm.source(lo), base+norm.source(hi)) },
		func(lo, hi int) { e.words(norm, lo, hi, base) },
		func(id int32, lo int) { e.put(id, base+norm.source(lo)) })
}

func (e *encoder) words(norm normalized, lo, hi, base int) {
	if e.err != nil {
		return
	}
	text := norm.text[lo:hi]
	e.err = splitAll(e.t.split, text, 0, func(from, to int) error {
		w := e.t.model.word(text[from:to])
		for i, id := range w.ids {
			e.put(id, base+norm.source(lo+from+int(w.starts[i])))
		}
		return nil
	})
}
