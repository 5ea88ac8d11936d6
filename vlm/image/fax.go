package image

// A fax decodes ITU-T T.4 and T.6: lines of runs, white first. As in libtiff, damage leaves
// the rest of the line or image white.
type fax struct {
	data []byte
	p    int // offset in bits
	w    int
	ref  []int // columns where the line above changes colour, starting with white
	line []int
}

// T4Options.
const (
	faxTwoDimensional = 1
	faxAligned        = 4
)

// unpackFax decodes into dst, lines of stride bytes where a 1 bit is black.
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
			return // end of block, or damage
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

// endOfLine skips fill bits and an end-of-line code, if there is one.
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

// toEndOfLine advances to the next end-of-line code.
func (f *fax) toEndOfLine() {
	for f.p < 8*len(f.data) && f.peek(12) != 1 {
		f.p++
	}
}

// run reads the length of a run; -1 if the code is invalid.
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

// twoDimensional reads a line coded relative to the one above.
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

// reference finds b1, the first changing element above, right of at and to the other
// colour, and b2, the next one. from is where the previous search ended.
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
