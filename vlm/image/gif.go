package image

import (
	"encoding/binary"
	"image"
	"image/color"
	"io"
)

// A gifFrame is the first frame of a GIF. As in Pillow and browsers, the screen grows to
// contain it.
type gifFrame struct {
	screen      image.Point
	area        image.Rectangle
	palette     []byte // three bytes per colour; nil for shades of gray
	transparent int    // index of the transparent colour, or -1
	interlaced  bool
	bits        int
	data        []byte // LZW data in blocks
}

func readGIF(data []byte) (f gifFrame, err error) {
	const head = 13
	if len(data) < head {
		return f, io.ErrUnexpectedEOF
	}
	le := binary.LittleEndian
	f.transparent = -1
	f.screen = image.Pt(int(le.Uint16(data[6:])), int(le.Uint16(data[8:])))
	p := head
	if f.palette, p, err = gifPalette(data, p, data[10]); err != nil {
		return f, err
	}
	for p < len(data) {
		switch data[p] {
		case ';':
			return f, formatError("gif", "no image")
		case '!':
			p = f.extension(data, p+1)
		case ',':
			return f, f.image(data, p+1)
		default:
			p++
		}
	}
	return f, io.ErrUnexpectedEOF
}

// gifPalette reads a palette if flags declare one, and returns the offset after it. The
// gray palette, where colour i is gray i, is returned as nil.
func gifPalette(data []byte, p int, flags byte) ([]byte, int, error) {
	if flags&0x80 == 0 {
		return nil, p, nil
	}
	end := p + 3<<(flags&7+1)
	if end > len(data) {
		return nil, p, io.ErrUnexpectedEOF
	}
	for i := p; i < end; i++ {
		if int(data[i]) != (i-p)/3 {
			return data[p:end], end, nil
		}
	}
	return nil, end, nil
}

// extension reads the transparent colour of a graphic control extension and skips other
// extensions. It returns the offset after it.
func (f *gifFrame) extension(data []byte, p int) int {
	const graphicControl = 0xf9
	if p+6 <= len(data) && data[p] == graphicControl && data[p+1] >= 4 {
		if data[p+2]&1 != 0 {
			f.transparent = int(data[p+5])
		}
	}
	for p++; p < len(data) && data[p] != 0; {
		p += 1 + int(data[p])
	}
	return p + 1
}

func (f *gifFrame) image(data []byte, p int) (err error) {
	if p+10 > len(data) {
		return io.ErrUnexpectedEOF
	}
	le := binary.LittleEndian
	at := image.Pt(int(le.Uint16(data[p:])), int(le.Uint16(data[p+2:])))
	f.area = image.Rectangle{at, at.Add(image.Pt(int(le.Uint16(data[p+4:])), int(le.Uint16(data[p+6:]))))}
	if f.area.Empty() {
		return formatError("gif", "no pixels")
	}
	f.screen = image.Pt(max(f.screen.X, f.area.Max.X), max(f.screen.Y, f.area.Max.Y))
	flags := data[p+8]
	f.interlaced = flags&0x40 != 0
	if flags&0x80 != 0 {
		f.palette = nil
	}
	local, p, err := gifPalette(data, p+9, flags)
	if err != nil {
		return err
	}
	if local != nil {
		f.palette = local
	}
	if p >= len(data) {
		return io.ErrUnexpectedEOF
	}
	f.bits = int(data[p])
	f.data = data[p+1:]
	if f.bits > 12 {
		return formatError("gif", "codes of more than 12 bits")
	}
	return nil
}

// colours returns the palette including the transparent colour.
func (f *gifFrame) colours() color.Palette {
	n := 256
	if f.palette != nil {
		n = len(f.palette) / 3
	}
	p := make(color.Palette, max(n, f.transparent+1))
	for i := range p {
		c := color.NRGBA{A: 255}
		switch {
		case f.palette == nil:
			c = color.NRGBA{byte(i), byte(i), byte(i), 255}
		case i < n:
			c = color.NRGBA{f.palette[3*i], f.palette[3*i+1], f.palette[3*i+2], 255}
		}
		if i == f.transparent {
			c.A = 0
		}
		p[i] = c
	}
	return p
}

func gifConfig(data []byte) (image.Config, error) {
	f, err := readGIF(data)
	return image.Config{ColorModel: color.Palette{}, Width: f.screen.X, Height: f.screen.Y}, err
}

func decodeGIF(data []byte, hd header) (source, error) {
	f, err := readGIF(data)
	if err != nil {
		return source{}, err
	}
	m := image.NewPaletted(image.Rectangle{Max: f.screen}, f.colours())
	if f.transparent > 0 && f.area != m.Rect {
		for i := range m.Pix {
			m.Pix[i] = byte(f.transparent)
		}
	}
	if err := f.decode(m); err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

// A gifLine iterates over the lines of a frame, in four passes if it is interlaced.
type gifLine struct{ y, step, pass, rows int }

func (l *gifLine) next() bool {
	l.y += l.step
	for l.y >= l.rows {
		if l.step == 1 || l.pass == 3 {
			return false
		}
		l.pass++
		l.step = 16 >> l.pass
		l.y = l.step / 2
	}
	return true
}

// decode decodes the frame (LZW of GIF89a). Data after the last pixel is ignored.
func (f *gifFrame) decode(m *image.Paletted) error {
	const tableSize = 4096
	var suffix [tableSize]byte
	var prefix [tableSize]uint16
	var text [tableSize + 1]byte
	clear, end := 1<<f.bits, 1<<f.bits+1
	next, width, last, first := end+1, f.bits+1, -1, byte(0)
	r := gifBits{data: f.data}
	w := f.area.Dx()
	line := gifLine{step: 1, rows: f.area.Dy()}
	if f.interlaced {
		line.step = 8
	}
	row, x := m.Pix[m.PixOffset(f.area.Min.X, f.area.Min.Y):][:w], 0
	for {
		code, ok := r.read(width)
		switch {
		case !ok || code == end:
			return io.ErrUnexpectedEOF
		case code == clear:
			next, width, last = end+1, f.bits+1, -1
			continue
		case last < 0 && code > clear, code > next, code == tableSize:
			return formatError("gif", "invalid code")
		}
		at, c := tableSize, code
		if last >= 0 && code == next { // the previous string and its first value
			text[at], at, c = first, at-1, last
		}
		for c >= clear {
			text[at], at, c = suffix[c], at-1, int(prefix[c])
		}
		first = byte(c)
		text[at] = first
		if last >= 0 && next < tableSize {
			suffix[next], prefix[next] = first, uint16(last)
			if next == 1<<width-1 && width < 12 {
				width++
			}
			next++
		}
		last = code
		for out := text[at:]; len(out) > 0; {
			n := copy(row[x:], out)
			out, x = out[n:], x+n
			if x < w {
				break
			}
			if !line.next() {
				return nil
			}
			row, x = m.Pix[m.PixOffset(f.area.Min.X, f.area.Min.Y+line.y):][:w], 0
		}
	}
}

// gifBits reads codes from length-prefixed blocks.
type gifBits struct {
	data []byte
	left int // of the block
	acc  uint32
	n    int
}

func (r *gifBits) read(width int) (int, bool) {
	for r.n < width {
		if len(r.data) == 0 {
			return 0, false
		}
		b := r.data[0]
		r.data = r.data[1:]
		if r.left == 0 {
			r.left = int(b)
			continue
		}
		r.left--
		r.acc |= uint32(b) << r.n
		r.n += 8
	}
	v := int(r.acc & (1<<width - 1))
	r.acc >>= width
	r.n -= width
	return v, true
}
