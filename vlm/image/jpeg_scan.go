package image

import (
	"io"

	"patchwork/vlm/image/simd"
)

// A jpegScan decodes one scan.
type jpegScan struct {
	*jpegDecoder
	bitReader
	comps      []scanComponent
	from, to   int // spectral band
	high, low  int // successive approximation
	endOfBands int32
	empty      bool // a marker comes before the unit's data; as in libjpeg, the unit is zeros
}

type scanComponent struct {
	*jpegComponent
	dc, ac *huffman
	last   int32 // previous DC value
}

// scan decodes the data after a scan header and returns its end.
func (d *jpegDecoder) scan(head []byte, p int) (end int, err error) {
	if len(head) < 1 || len(head) < 4+2*int(head[0]) || head[0] < 1 || head[0] > 4 || d.comps == nil {
		return 0, formatError("jpeg", "invalid scan header")
	}
	n := int(head[0])
	s := jpegScan{jpegDecoder: d, bitReader: bitReader{data: d.stream, p: p}, to: 63}
	if d.progressive {
		tail := head[1+2*n:]
		s.from, s.to, s.high, s.low = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
		if s.from > s.to || s.to > 63 || s.low > 13 || s.from == 0 && s.to != 0 || s.from > 0 && n > 1 {
			return 0, formatError("jpeg", "invalid scan header")
		}
	}
	for i := range n {
		c := d.component(head[1+2*i])
		tables := head[2+2*i]
		if c == nil || tables>>4 > 3 || tables&15 > 3 {
			return 0, formatError("jpeg", "invalid scan header")
		}
		sc := scanComponent{jpegComponent: c, dc: d.dc[tables>>4], ac: d.ac[tables&15]}
		if sc.dc == nil && s.from == 0 && s.high == 0 || sc.ac == nil && s.to > 0 {
			return 0, formatError("jpeg", "missing Huffman table")
		}
		if c.steps == nil {
			steps := d.quant[c.table]
			c.steps = &steps
		}
		s.comps = append(s.comps, sc)
	}
	d.seen = true
	if n == 1 {
		err = s.single()
	} else {
		err = s.interleaved()
	}
	if err == nil && s.exhausted() && !s.marked {
		err = io.ErrUnexpectedEOF
	}
	return s.p, err
}

func (d *jpegDecoder) component(id byte) *jpegComponent {
	for i := range d.comps {
		if d.comps[i].id == id {
			return &d.comps[i]
		}
	}
	return nil
}

// single decodes a scan of one component, which has only blocks with pixels.
func (s *jpegScan) single() error {
	c := &s.comps[0]
	bw, bh := ceilDiv(c.w, 8), ceilDiv(c.rows, 8)
	for i := range bw * bh {
		if err := s.unit(i); err != nil {
			return err
		}
		if err := s.block(c, i%bw, i/bw); err != nil {
			return err
		}
	}
	return nil
}

// interleaved decodes a scan of several components, in MCUs.
func (s *jpegScan) interleaved() error {
	for i := range s.mcusX * s.mcusY {
		if err := s.unit(i); err != nil {
			return err
		}
		mx, my := i%s.mcusX, i/s.mcusX
		for k := range s.comps {
			c := &s.comps[k]
			for b := range c.h * c.v {
				if err := s.block(c, mx*c.h+b%c.h, my*c.v+b/c.h); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unit starts the i-th block or MCU of the scan, after a restart marker if one is due.
func (s *jpegScan) unit(i int) error {
	s.empty = s.exhausted()
	if s.empty && !s.marked {
		return io.ErrUnexpectedEOF
	}
	if s.restart == 0 || i == 0 || i%s.restart != 0 {
		return nil
	}
	s.align()
	s.empty, s.marked = false, false
	for s.p+1 < len(s.data) && (s.data[s.p] != 0xff || s.data[s.p+1] == 0 || s.data[s.p+1] == 0xff) {
		s.p++
	}
	if s.p+1 < len(s.data) && s.data[s.p+1]&^7 == markRST0 {
		s.p += 2
	}
	for k := range s.comps {
		s.comps[k].last = 0
	}
	s.endOfBands = 0
	return nil
}

func (s *jpegScan) block(c *scanComponent, bx, by int) error {
	if !s.progressive {
		s.sequentialBlock(c, bx, by)
		return nil
	}
	coeffs := (*[64]int16)(c.coeffs[64*(by*c.bw+bx):])
	switch {
	case s.empty:
	case s.from == 0 && s.high == 0:
		c.last += s.signed(min(16, s.symbol(c.dc)))
		coeffs[0] = int16(c.last << s.low)
	case s.from == 0:
		if s.bit() {
			coeffs[0] |= 1 << s.low
		}
	case s.high == 0:
		s.firstPass(c.ac, coeffs)
	default:
		s.refine(c.ac, coeffs)
	}
	return nil
}

// sequentialBlock decodes a block of a sequential scan and its samples.
func (s *jpegScan) sequentialBlock(c *scanComponent, bx, by int) {
	var coeffs [64]int16
	flat := true
	if !s.empty {
		flat = s.sequential(c, &coeffs)
	}
	stride := 8 * c.bw
	dst := c.plane[by*8*stride+bx*8:]
	if flat {
		simd.FlatBlock(dst, stride, coeffs[0], c.steps)
	} else {
		simd.InverseDCT(dst, stride, &coeffs, c.steps)
	}
}

// sequential reads the coefficients of a block. flat means that only the first is not 0. It
// is where most of the time goes: the bit reader's state is kept in local variables, and the
// table's values hold the most frequent coefficients with their bits.
func (s *jpegScan) sequential(c *scanComponent, coeffs *[64]int16) (flat bool) {
	c.last += s.signed(min(16, s.symbol(c.dc)))
	coeffs[0] = int16(c.last)
	acc, n, ac := s.acc, s.n, c.ac
	k := 1
	for ; k < 64; k++ {
		if n < symbolBits {
			s.acc, s.n = acc, n
			s.fill()
			acc, n = s.acc, s.n
		}
		look := acc >> uint((n-lookBits)&63) & (1<<lookBits - 1)
		if e := ac.coeffs[look]; e != 0 {
			k += int(e >> 8 & 15)
			n -= int(e & 255)
			coeffs[zigzag[k]] = int16(e >> 16)
			continue
		}
		e := ac.look[look]
		if e == 0 || n < symbolBits { // a long code, or the last bits of the scan
			s.acc, s.n = acc, n
			v := s.symbol(ac)
			run, size := v>>4, v&15
			value := s.signed(size)
			acc, n = s.acc, s.n
			if size == 0 && run != 15 {
				break
			}
			k += run
			if size != 0 {
				coeffs[zigzag[k]] = int16(value)
			}
			continue
		}
		n -= int(e >> 8)
		run, size := int(e>>4&15), int(e&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 15
			continue
		}
		k += run
		n -= size
		coeffs[zigzag[k]] = int16(extend(int32(acc>>uint(n&63))&(1<<size-1), size))
	}
	s.acc, s.n = acc, n
	return k == 1
}

// firstPass reads the first scan of a band (ITU-T T.81, G.1.2.2).
func (s *jpegScan) firstPass(h *huffman, coeffs *[64]int16) {
	if s.endOfBands > 0 {
		s.endOfBands--
		return
	}
	for k := s.from; k <= s.to; k++ {
		v := s.symbol(h)
		run, size := v>>4, v&15
		switch {
		case size != 0:
			k += run
			coeffs[zigzag[k]] = int16(s.signed(size) << s.low)
		case run == 15:
			k += 15
		default:
			s.endOfBands = 1<<run + s.bits(run) - 1
			return
		}
	}
}

// refine reads another bit of a band (ITU-T T.81, G.1.2.3).
func (s *jpegScan) refine(h *huffman, coeffs *[64]int16) {
	bit := int16(1) << s.low
	k := s.from
	if s.endOfBands == 0 {
		for k <= s.to {
			v := s.symbol(h)
			run, size := v>>4, v&15
			fresh := int16(0)
			if size != 0 {
				fresh = -bit
				if s.bit() {
					fresh = bit
				}
			} else if run != 15 {
				s.endOfBands = 1<<run + s.bits(run)
				break
			}
			k = s.refineRun(coeffs, k, run, bit)
			if fresh != 0 && k <= s.to {
				coeffs[zigzag[k]] = fresh
			}
			k++
		}
	}
	if s.endOfBands > 0 {
		s.refineRun(coeffs, k, 64, bit)
		s.endOfBands--
	}
}

// refineRun corrects nonzero coefficients and returns the index of the zero after run
// zeros.
func (s *jpegScan) refineRun(coeffs *[64]int16, k, run int, bit int16) int {
	for ; k <= s.to; k++ {
		c := &coeffs[zigzag[k]]
		if *c == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if s.bit() && *c&bit == 0 {
			if *c > 0 {
				*c += bit
			} else {
				*c -= bit
			}
		}
	}
	return k
}
