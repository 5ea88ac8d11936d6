package vp8

// border is the number of samples before each line of a plane. The last one is the line's
// neighbour on the left (RFC 6386, section 12).
const border = 16

// Samples outside of the frame.
const (
	outsideAbove = 127
	outsideLeft  = 129
)

// A plane has the samples of luma or chroma.
type plane struct {
	pix    []byte
	stride int
	size   int    // of a macroblock: 16 or 8 samples
	above  []byte // the line above the row, before the loop filter, from the border on
}

// aboveRight is the number of samples that a macroblock is predicted from beyond its right.
const aboveRight = 4

func newPlane(size, columns, rows int) plane {
	p := plane{size: size, stride: border + size*columns}
	p.pix = make([]byte, p.stride*size*rows)
	for i := border - 1; i < len(p.pix); i += p.stride {
		p.pix[i] = outsideLeft
	}
	p.above = make([]byte, p.stride+aboveRight)
	for i := range p.above {
		p.above[i] = outsideAbove
	}
	return p
}

// index returns the index of a macroblock's first sample.
func (p *plane) index(x, y int) int { return border + x*p.size + y*p.size*p.stride }

// keepLastLine makes the last line of a row of macroblocks the line above the next row. The
// last sample is repeated on the right.
func (p *plane) keepLastLine(y int) {
	last := p.pix[((y+1)*p.size-1)*p.stride:][:p.stride]
	copy(p.above, last)
	for i := range aboveRight {
		p.above[p.stride+i] = last[p.stride-1]
	}
}
