package image

import (
	"image"
	"image/color"
	"io"
	"math"
)

// A netpbm is the header of a PBM, PGM or PPM file.
type netpbm struct {
	kind     byte // '1' to '6'
	w, h     int
	maxValue int // the value of white
	begin    int // offset of the pixels
	data     []byte
}

// isNetpbm reports whether data starts with P1 to P6 and a blank.
func isNetpbm(data []byte) bool {
	return len(data) > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' && blank(data[2])
}

func blank(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func readNetpbm(data []byte) (*netpbm, error) {
	n := &netpbm{kind: data[1], maxValue: 1, begin: 2, data: data}
	fields := []*int{&n.w, &n.h, &n.maxValue}
	if n.kind == '1' || n.kind == '4' {
		fields = fields[:2]
	}
	for _, f := range fields {
		v, err := n.number()
		if err != nil {
			return nil, err
		}
		*f = v
	}
	if n.maxValue < 1 || n.maxValue > 65535 {
		return nil, formatError("netpbm", "maximum value out of range")
	}
	return n, nil
}

// number reads a number and one blank after it.
func (n *netpbm) number() (int, error) {
	n.skip()
	v, digits := 0, 0
	for ; n.begin < len(n.data) && n.data[n.begin] >= '0' && n.data[n.begin] <= '9'; n.begin++ {
		if v, digits = 10*v+int(n.data[n.begin]-'0'), digits+1; digits > 10 {
			return 0, formatError("netpbm", "number out of range")
		}
	}
	switch {
	case n.begin < len(n.data) && !blank(n.data[n.begin]) && n.data[n.begin] != '#':
		return 0, formatError("netpbm", "not a number")
	case digits == 0:
		return 0, io.ErrUnexpectedEOF
	}
	if n.begin < len(n.data) && n.data[n.begin] != '#' {
		n.begin++
	}
	return v, nil
}

// skip skips blanks and comments.
func (n *netpbm) skip() {
	for comment := false; n.begin < len(n.data); n.begin++ {
		switch b := n.data[n.begin]; {
		case comment:
			comment = b != '\n' && b != '\r'
		case b == '#':
			comment = true
		case !blank(b):
			return
		}
	}
}

func (n *netpbm) channels() int {
	if n.kind == '3' || n.kind == '6' {
		return 3
	}
	return 1
}

func netpbmConfig(data []byte) (image.Config, error) {
	n, err := readNetpbm(data)
	if err != nil {
		return image.Config{}, err
	}
	c := image.Config{ColorModel: color.GrayModel, Width: n.w, Height: n.h}
	if n.channels() == 3 {
		c.ColorModel = color.NRGBAModel
	}
	return c, nil
}

func decodeNetpbm(data []byte, hd header) (source, error) {
	n, err := readNetpbm(data)
	if err != nil {
		return source{}, err
	}
	wide := n.w * n.channels()
	pix := make([]byte, wide*n.h)
	switch n.kind {
	case '1', '2', '3':
		err = n.plain(pix)
	case '4':
		err = n.bitmap(pix)
	default:
		err = n.binary(pix)
	}
	s := source{line: func(dst []byte, y int) { grayLine(dst, pix[y*wide:], 1) }}
	if n.channels() == 3 {
		s = source{line: func(dst []byte, y int) { copy(dst, pix[y*wide:]) }, reusable: pix}
	}
	return s, err
}

// scaled converts a value to 8 bits as Pillow does: 16-bit gray by its high byte, other
// values by rounding.
func (n *netpbm) scaled(v int) byte {
	white := 255.0
	if n.maxValue > 255 && n.channels() == 1 {
		return byte(int(math.RoundToEven(float64(min(v, n.maxValue))/float64(n.maxValue)*65535)) >> 8)
	}
	return byte(math.RoundToEven(float64(min(v, n.maxValue)) / float64(n.maxValue) * white))
}

func (n *netpbm) plain(pix []byte) error {
	for i := range pix {
		if n.kind == '1' { // digits without blanks between them
			n.skip()
			if n.begin >= len(n.data) {
				return io.ErrUnexpectedEOF
			}
			if n.data[n.begin]|1 != '1' {
				return formatError("netpbm", "a value other than 0 and 1")
			}
			pix[i] = 255 * ('1' - n.data[n.begin])
			n.begin++
			continue
		}
		v, err := n.number()
		if err != nil {
			return err
		}
		if v > n.maxValue {
			return formatError("netpbm", "a value above the maximum")
		}
		pix[i] = n.scaled(v)
	}
	return nil
}

func (n *netpbm) bitmap(pix []byte) error {
	stride := (n.w + 7) / 8
	if len(n.data)-n.begin < stride*n.h {
		return io.ErrUnexpectedEOF
	}
	for i := range pix {
		x, y := i%n.w, i/n.w
		if n.data[n.begin+y*stride+x/8]>>(7-x%8)&1 == 0 {
			pix[i] = 255
		}
	}
	return nil
}

func (n *netpbm) binary(pix []byte) error {
	src := n.data[n.begin:]
	size := 1
	if n.maxValue > 255 {
		size = 2
	}
	if len(src) < size*len(pix) {
		return io.ErrUnexpectedEOF
	}
	if n.maxValue == 255 {
		copy(pix, src)
		return nil
	}
	for i := range pix {
		v := int(src[size*i])
		if size == 2 {
			v = v<<8 | int(src[size*i+1])
		}
		pix[i] = n.scaled(v)
	}
	return nil
}
