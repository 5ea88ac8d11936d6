package image

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"runtime/debug"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// pngChunks calls each for every complete chunk, until it returns false.
func pngChunks(data []byte, each func(kind string, body []byte) bool) {
	for p := len(pngMagic); p+8 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[p:]))
		if n > len(data)-p-8 || !each(string(data[p+4:p+8]), data[p+8:p+8+n]) {
			return
		}
		p += 12 + n
	}
}

// headerChecksumsOK reports whether the checksums of all chunks before the pixels are right.
func headerChecksumsOK(data []byte) bool {
	sound, p := true, len(pngMagic)
	pngChunks(data, func(kind string, body []byte) bool {
		if kind == "IDAT" {
			return false
		}
		sum := data[p+8+len(body):]
		sound = len(sum) >= 4 && crc32.ChecksumIEEE(data[p+4:p+8+len(body)]) == binary.BigEndian.Uint32(sum)
		p += 12 + len(body)
		return sound
	})
	return sound
}

// pngText returns up to 1 MB of the decompressed text of a chunk, or nil if it is broken.
func pngText(kind string, body []byte) []byte {
	const limit = 1 << 20
	_, rest, ok := bytes.Cut(body, []byte{0})
	packed := kind == "zTXt"
	switch {
	case !ok || len(rest) < 2:
		return nil
	case kind == "tEXt":
		return rest
	case packed:
		rest = rest[1:]
	default: // iTXt: compression flag and method, language, translated keyword
		packed = rest[0] != 0
		for range 2 {
			if _, rest, ok = bytes.Cut(rest[2:], []byte{0}); !ok {
				return nil
			}
			rest = append([]byte{0, 0}, rest...)
		}
		rest = rest[2:]
	}
	if !packed {
		return rest
	}
	r, err := zlib.NewReader(bytes.NewReader(rest))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(r, limit)) // text before damage is used
	return text
}

// pngConfig reads the header. Other errors are found when decoding.
func pngConfig(data []byte) (c image.Config, err error) {
	const head = len(pngMagic) + 8 + 13
	if len(data) < head {
		return c, io.ErrUnexpectedEOF
	}
	if string(data[12:16]) != "IHDR" {
		return c, formatError("png", "the first chunk is not IHDR")
	}
	w, h := binary.BigEndian.Uint32(data[16:]), binary.BigEndian.Uint32(data[20:])
	c.Width, c.Height, c.ColorModel = int(min(w, math.MaxInt32)), int(min(h, math.MaxInt32)), color.NRGBAModel
	wide := data[24] == 16
	switch gray, alpha := data[25]&2 == 0, data[25]&4 != 0; {
	case data[25] == 3:
		c.ColorModel = color.Palette{}
	case wide && gray && !alpha:
		c.ColorModel = color.Gray16Model
	case wide:
		c.ColorModel = color.NRGBA64Model
	case gray && !alpha:
		c.ColorModel = color.GrayModel
	}
	pngChunks(data, func(kind string, _ []byte) bool {
		if kind == "tRNS" { // decoded with an alpha channel
			switch c.ColorModel {
			case color.GrayModel:
				c.ColorModel = color.NRGBAModel
			case color.Gray16Model:
				c.ColorModel = color.NRGBA64Model
			}
		}
		return kind != "IDAT"
	})
	return c, nil
}

// decodePNG accepts the files that Pillow accepts: it ignores checksums after the header,
// and data after the last pixel.
func decodePNG(data []byte, hd header) (source, error) {
	if s, ok := decodePlainPNG(data, hd); ok {
		return s, nil
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		if again, ok := newPNGStream(data); ok && headerChecksumsOK(data) {
			if hd.bytes >= largeBytes {
				debug.FreeOSMemory() // of the first attempt
			}
			if whole, failed := png.Decode(again); failed == nil {
				m, err = whole, nil
			}
		}
	}
	if err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

// A pngStream rewrites a PNG with only the chunks needed for the pixels, correct checksums,
// and the correct number of bytes of pixels.
type pngStream struct {
	out    bytes.Buffer
	packed io.Reader // the file's decompressed pixels
	pixels io.Reader // limited to the correct number of bytes
	chunks bytes.Buffer
	packer *zlib.Writer
	piece  [32 << 10]byte
	done   bool
}

func newPNGStream(data []byte) (*pngStream, bool) {
	s := &pngStream{}
	s.out.WriteString(pngMagic)
	var parts []io.Reader
	size, bits := int64(0), 8
	pngChunks(data, func(kind string, body []byte) bool {
		switch kind {
		case "IHDR":
			size = pngSize(body)
			if len(body) > 8 && body[8] <= 8 {
				bits = int(body[8])
			}
			s.chunk(kind, body)
		case "PLTE": // without colours that no pixel can use
			s.chunk(kind, body[:min(len(body), 3<<bits)])
		case "tRNS":
			s.chunk(kind, body)
		case "IDAT":
			parts = append(parts, bytes.NewReader(body))
		}
		return kind != "IEND"
	})
	r, err := zlib.NewReader(io.MultiReader(parts...))
	if err != nil || size == 0 {
		return nil, false
	}
	s.packed, s.pixels = r, io.LimitReader(r, size)
	s.packer, err = zlib.NewWriterLevel(&s.chunks, zlib.NoCompression)
	return s, err == nil
}

// pngSize returns the bytes of the pixels, including a filter byte per line.
func pngSize(head []byte) int64 {
	if len(head) < 13 {
		return 0
	}
	w, h := int64(binary.BigEndian.Uint32(head)), int64(binary.BigEndian.Uint32(head[4:]))
	channels := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[head[9]]
	area := func(w, h int64) int64 {
		if w == 0 || h == 0 {
			return 0
		}
		return h * (1 + (w*channels*int64(head[8])+7)/8)
	}
	if head[12] == 0 {
		return area(w, h)
	}
	sum := int64(0)
	for _, p := range [7][4]int64{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		sum += area((w-p[0]+p[2]-1)/p[2], (h-p[1]+p[3]-1)/p[3])
	}
	return sum
}

func (s *pngStream) chunk(kind string, body []byte) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	head = append(head, kind...)
	sum := crc32.Update(crc32.ChecksumIEEE(head[4:]), crc32.IEEETable, body)
	s.out.Write(head)
	s.out.Write(body)
	s.out.Write(binary.BigEndian.AppendUint32(nil, sum))
}

func (s *pngStream) Read(p []byte) (int, error) {
	for s.out.Len() < len(p) && !s.done {
		n, err := io.ReadFull(s.pixels, s.piece[:])
		s.packer.Write(s.piece[:n]) // into memory
		if n < len(s.piece) {
			s.done = true
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				return 0, err
			}
			if _, err := s.packed.Read(make([]byte, 1)); err == zlib.ErrChecksum {
				return 0, err
			}
			s.packer.Close()
		}
		s.chunk("IDAT", s.chunks.Bytes())
		s.chunks.Reset()
		if s.done {
			s.chunk("IEND", nil)
		}
	}
	return s.out.Read(p)
}
