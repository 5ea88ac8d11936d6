package tokenizer

import "strings"

// Piece is a part of a text. Special tokens are recognised only where all of
// their bytes are trusted.
type Piece struct {
	Text    string
	Trusted bool
}

// Encode returns the ids of the pieces' joined text: words and merges run across
// the borders of pieces as in one string. No token is added at either end. The error is a
// *PatternError.
func (t *Tokenizer) Encode(pieces ...Piece) ([]int32, error) {
	ids, _, err := t.EncodeOffsets(pieces...)
	return ids, err
}

// EncodePlain encodes the text of users: special tokens are ordinary text.
func (t *Tokenizer) EncodePlain(text string) ([]int32, error) { return t.Encode(Piece{Text: text}) }

// EncodeTrusted encodes our own text, in which special tokens are recognised.
func (t *Tokenizer) EncodeTrusted(text string) ([]int32, error) {
	return t.Encode(Piece{Text: text, Trusted: true})
}

// EncodeOffsets is Encode that also tells where each token starts: the offset, in
// bytes of the joined text, of the first byte it stands for. Invalid UTF-8 is
// replaced by U+FFFD first, and offsets count in the text so replaced. A character
// that normalization changes counts as one place.
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

// span is a range of bytes, half open.
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
	untrusted   []span // in order; those before the last place asked for are dropped
	ids, starts []int32
	err         error // the first; nothing counts any more
}

func (e *encoder) put(id int32, start int) {
	e.ids = append(e.ids, id)
	e.starts = append(e.starts, int32(start))
}

// trusted reports whether no byte of text[lo:hi] is untrusted. lo never falls
// between calls.
func (e *encoder) trusted(lo, hi int) bool {
	for len(e.untrusted) > 0 && e.untrusted[0].hi <= lo {
		e.untrusted = e.untrusted[1:]
	}
	return len(e.untrusted) == 0 || e.untrusted[0].lo >= hi
}

// text encodes what lies between added tokens, from offset base on.
func (e *encoder) text(text string, base int) {
	norm := normalized{text: text}
	if e.t.nfc {
		norm = toNFC(text)
	}
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
