package image

// A fax reads ITU-T T.4 and T.6: lines of runs, white first. Damage costs the line,
// or what follows it, as in libtiff: the rest stays white.
type fax struct {
	data []byte
	p    int // in bits
	w    int
	ref  []int // where the line above changes colour, from white on
	line []int
}

// T4Options.
const (
	faxTwoDimensional = 1
	faxAligned        = 4
)

// unpackFax fills dst, of lines of stride bytes: 1 is black.
func unpackFax(dst []byte, stride, w int, data []byte, compression, options int64) {
	clear(dst)
	f := &fax{data: data, w: w}
	for ; len(dst) >= stride && f.p < 8*len(data); dst = dst[stride:] {
		two := compression == packFax4
		if compression == packFax3 {
			f.endOfLine()
			two = options&faxTwoDimensional != 0 && f.take(1) == 0
		}
		f.line = f.line[:0]
		ok := false
		if two {
			ok = f.twoDimensional()
		} else {
			ok = f.oneDimensional()
		}
		if !ok && compression != packFax3 && len(f.line) == 0 {
			return // the end of the block, or damage
		}
		f.paint(dst[:stride])
		if compression == packRLE {
			f.p = (f.p + 7) &^ 7
		}
		f.ref, f.line = f.line, f.ref
	}
}

func (f *fax) peek(n int) uint32 {
	v := uint32(0)
	for i := f.p / 8; i <= (f.p+n-1)/8; i++ {
		v <<= 8
		if i < len(f.data) {
			v |= uint32(f.data[i])
		}
	}
	return v >> (7 - (f.p+n-1)%8) & (1<<n - 1)
}

func (f *fax) take(n int) uint32 {
	v := f.peek(n)
	f.p += n
	return v
}

// endOfLine passes by fill bits and the mark of a line's end, where there is one.
func (f *fax) endOfLine() {
	p := f.p
	for zeros := 0; f.p < 8*len(f.data); zeros++ {
		if f.take(1) == 0 {
			continue
		}
		if zeros < 11 {
			f.p = p
		}
		return
	}
}

// toEndOfLine goes to the next mark.
func (f *fax) toEndOfLine() {
	for f.p < 8*len(f.data) && f.peek(12) != 1 {
		f.p++
	}
}

// run reads the length of a run, -1 where there is no such code.
func (f *fax) run(colour int) int {
	sum := 0
	for {
		e := faxRuns()[colour][f.peek(faxBits)]
		if e == 0 || f.p >= 8*len(f.data) {
			return -1
		}
		f.p += int(e & 15)
		n := int(e >> 4)
		sum = min(sum+n, f.w)
		if n < 64 {
			return sum
		}
	}
}

func (f *fax) oneDimensional() bool {
	at := 0
	for colour := 0; at < f.w; colour ^= 1 {
		n := f.run(colour)
		if n < 0 {
			f.toEndOfLine()
			return false
		}
		at = min(at+n, f.w)
		f.line = append(f.line, at)
	}
	return true
}

// twoDimensional reads a line as changes against the one above.
func (f *fax) twoDimensional() bool {
	at, colour, b := -1, 0, 0
	for at < f.w {
		b1, b2 := f.reference(at, colour, &b)
		mode, ok := f.mode()
		if !ok {
			f.toEndOfLine()
			return false
		}
		switch mode {
		case faxPass:
			at = b2
		case faxHorizontal:
			first, second := f.run(colour), -1
			if first >= 0 {
				second = f.run(colour ^ 1)
			}
			if second < 0 {
				f.toEndOfLine()
				return false
			}
			at = min(max(at, 0)+first, f.w)
			f.line = append(f.line, at)
			at = min(at+second, f.w)
			f.line = append(f.line, at)
		default:
			at = max(max(at, 0), min(b1+mode, f.w))
			f.line = append(f.line, at)
			colour ^= 1
		}
	}
	return true
}

// reference finds b1, the first change above that lies right of at and is to the
// other colour, and b2, the next one. from remembers where the search began.
func (f *fax) reference(at, colour int, from *int) (b1, b2 int) {
	i := max(0, *from-2)
	for i < len(f.ref) && (i%2 != colour || f.ref[i] <= at) {
		i++
	}
	*from = i
	b1, b2 = f.w, f.w
	if i < len(f.ref) {
		b1 = f.ref[i]
	}
	if i+1 < len(f.ref) {
		b2 = f.ref[i+1]
	}
	return b1, b2
}

func (f *fax) mode() (int, bool) {
	if f.p >= 8*len(f.data) {
		return 0, false
	}
	next := f.peek(7)
	for _, m := range faxModes {
		if next>>(7-m.length) == m.code {
			f.p += int(m.length)
			return m.mode, true
		}
	}
	return 0, false
}

// paint sets the black runs of the line.
func (f *fax) paint(dst []byte) {
	for i := 0; i < len(f.line); i += 2 {
		end := f.w
		if i+1 < len(f.line) {
			end = f.line[i+1]
		} else if len(f.line)%2 == 1 && f.line[i] < f.w {
			end = f.line[i] // a damaged line ends white
		}
		for x := f.line[i]; x < end; x++ {
			dst[x/8] |= 0x80 >> (x % 8)
		}
	}
}
