package image

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff/lzw"
)

// Values of TIFF's compression tag.
const (
	packNone    = 1
	packRLE     = 2 // modified Huffman, as T.4 without end-of-line codes
	packFax3    = 3
	packFax4    = 4
	packLZW     = 5
	packJPEGOld = 6
	packJPEG    = 7
	packDeflate = 8
	packBits    = 32773
	packDeflat2 = 32946
	packZstd    = 50000
)

// packNames are names of unsupported compressions.
var packNames = map[int64]string{
	9: "JBIG compression", 10: "JBIG compression", 32771: "NeXT's compression", 32809: "ThunderScan's compression",
	34661: "JBIG compression", 34712: "JPEG 2000 compression", 34925: "LZMA compression", 34933: "PNG compression",
	34934: "JPEG XR compression", 22610: "JPEG XR compression", 50001: "WebP compression", 50002: "JPEG XL compression", 52546: "JPEG XL compression",
}

// An unpacker decodes one chunk at a time.
type unpacker struct {
	*tiffImage
	buffer  []byte
	stride  int
	jpeg    *jpegDecoder
	row     func(dst []byte, y int)
	scratch []byte
}

func newUnpacker(t *tiffImage) (*unpacker, error) {
	u := &unpacker{tiffImage: t}
	switch t.compression {
	case packNone, packRLE, packFax3, packFax4, packLZW, packDeflate, packDeflat2, packBits, packZstd:
		line, chunk := t.chunkBytes()
		u.stride, u.buffer = int(line), make([]byte, chunk)
	case packJPEG, packJPEGOld:
		if t.bits != 8 || t.format != 1 || t.compression == packJPEGOld && t.separate {
			return nil, unsupportedError("tiff", "this form of JPEG compression")
		}
	default:
		name := packNames[t.compression]
		if name == "" {
			name = fmt.Sprintf("compression %d", t.compression)
		}
		return nil, unsupportedError("tiff", name)
	}
	switch {
	case t.bits != 1 && (t.compression == packFax3 || t.compression == packFax4 || t.compression == packRLE):
		return nil, formatError("tiff", "fax compression of more than one bit per pixel")
	case t.predictor() == 3:
		return nil, unsupportedError("tiff", "a floating-point predictor")
	}
	return u, nil
}

// predictor returns the predictor; 1: none.
func (t *tiffImage) predictor() int64 {
	switch t.compression {
	case packLZW, packDeflate, packDeflat2, packZstd:
		return t.first(tagPredictor, 1)
	}
	return 1
}

// unpack decodes a chunk that covers area. Lines below the image may be missing.
func (u *unpacker) unpack(part []byte, area image.Rectangle) error {
	if u.compression == packJPEG || u.compression == packJPEGOld {
		return u.unpackJPEG(part)
	}
	lines := min(area.Dy(), u.h-area.Min.Y)
	need := u.buffer[:u.stride*ceilDiv(lines, u.chromaY)]
	if u.first(tagFillOrder, 1) == 2 {
		part = reversed(part)
	}
	var err error
	switch u.compression {
	case packNone:
		if copy(need, part) < len(need) {
			err = io.ErrUnexpectedEOF
		}
	case packBits:
		err = unpackBits(need, part)
	case packLZW:
		err = fill(need, lzw.NewReader(bytes.NewReader(part), lzw.MSB, 8))
	case packDeflate, packDeflat2:
		err = fillFrom(need)(zlib.NewReader(bytes.NewReader(part)))
	case packZstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(part), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderLowmem(true)); err == nil {
			err = fill(need, d.IOReadCloser())
		}
	default:
		unpackFax(need, u.stride, u.chunkW, part, u.compression, u.first(tagFaxOptions, 0))
	}
	if err != nil {
		return err
	}
	u.undoPredictor(need)
	return nil
}

func fillFrom(need []byte) func(io.ReadCloser, error) error {
	return func(r io.ReadCloser, err error) error {
		if err != nil {
			return err
		}
		return fill(need, r)
	}
}

// fill fills need from r and ignores further data.
func fill(need []byte, r io.ReadCloser) error {
	defer r.Close()
	_, err := io.ReadFull(r, need)
	return err
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = bits.Reverse8(v)
	}
	return out
}

func unpackBits(dst, src []byte) error {
	for len(dst) > 0 {
		if len(src) < 2 {
			return io.ErrUnexpectedEOF
		}
		n := int(int8(src[0]))
		switch {
		case n == -128:
			src = src[1:]
		case n < 0:
			run := min(1-n, len(dst))
			for i := range run {
				dst[i] = src[1]
			}
			dst, src = dst[run:], src[2:]
		default:
			run := copy(dst, src[1:min(n+2, len(src))])
			dst, src = dst[run:], src[min(n+2, len(src)):]
		}
	}
	return nil
}

// undoPredictor reverts horizontal differencing.
func (u *unpacker) undoPredictor(data []byte) {
	if u.predictor() != 2 || u.bits < 8 {
		return
	}
	size := u.bits / 8
	step := u.stored() * size
	for ; len(data) >= u.stride; data = data[u.stride:] {
		line := data[:u.stride]
		for i := step; i+size <= len(line); i += size {
			switch size {
			case 1:
				line[i] += line[i-step]
			case 2:
				u.order.PutUint16(line[i:], u.order.Uint16(line[i:])+u.order.Uint16(line[i-step:]))
			case 4:
				u.order.PutUint32(line[i:], u.order.Uint32(line[i:])+u.order.Uint32(line[i-step:]))
			}
		}
	}
}

// unpackJPEG decodes a chunk that is a JPEG stream, whose tables may be in a tag.
func (u *unpacker) unpackJPEG(part []byte) error {
	if u.compression == packJPEGOld {
		at, n := u.first(tagJPEGOffset, 0), u.first(tagJPEGLength, int64(len(u.data)))
		if at < 1 || at > int64(len(u.data))-2 || u.chunkH < u.h {
			return unsupportedError("tiff", "old-style JPEG compression in several parts")
		}
		part = u.data[at:min(at+max(n, 2), int64(len(u.data)))]
		if n < 1 || u.count(tagJPEGLength) == 0 {
			part = u.data[at:]
		}
	}
	if len(part) < 2 || part[0] != 0xff {
		return formatError("tiff", "a part is not a JPEG stream")
	}
	d, err := decodeJPEG(u.bytes(tagJPEGTables), part, jpegLimits{u.chunkW, u.chunkH, maxScans(u.w, u.h)})
	if err != nil {
		return err
	}
	if len(d.comps) != u.stored() {
		return formatError("tiff", "a JPEG stream has a wrong number of components")
	}
	d.repeat = u.compression == packJPEGOld
	as := gray
	switch {
	case u.photo == photoYCC:
		as = ycc
	case len(d.comps) == 3:
		as = rgb
	case len(d.comps) == 4:
		as = rawCMYK
	}
	u.jpeg, u.row = d, d.lines(as)
	u.scratch = make([]byte, 4*d.w)
	return nil
}

// line reads the kept values of line y of the chunk into dst, or only those of plane if
// planes are separate.
func (u *unpacker) line(dst []byte, y, plane int) {
	kept, stored := u.kept(), u.stored()
	if u.row != nil {
		u.jpegLine(dst, y, plane)
		return
	}
	if u.chromaX*u.chromaY > 1 {
		u.chromaLine(dst, y)
		return
	}
	src := u.buffer[y*u.stride:][:u.stride]
	if u.bits == 8 && stored == kept {
		copy(dst, src)
		return
	}
	if stored == 1 {
		for x := 0; x*kept < len(dst); x++ {
			dst[x*kept+plane] = u.sample(src, x)
		}
		return
	}
	for x := 0; x*kept < len(dst); x++ {
		for k := range kept {
			dst[x*kept+k] = u.sample(src, x*stored+k)
		}
	}
}

func (u *unpacker) jpegLine(dst []byte, y, plane int) {
	n := len(dst) / u.kept()
	if y >= u.jpeg.h {
		return
	}
	wide := len(u.jpeg.comps)
	if wide == 1 {
		u.row(u.scratch[:3*u.jpeg.w], y)
		for x := range min(n, u.jpeg.w) {
			dst[x*u.kept()+plane] = u.scratch[3*x]
		}
		return
	}
	u.row(u.scratch[:wide*u.jpeg.w], y)
	for x := range min(n, u.jpeg.w) {
		copy(dst[x*u.kept():(x+1)*u.kept()], u.scratch[x*wide:])
	}
}

// chromaLine reads a line of units, each of chromaX*chromaY luma values, one Cb and one Cr.
func (u *unpacker) chromaLine(dst []byte, y int) {
	unit := u.chromaX*u.chromaY + 2
	src := u.buffer[y/u.chromaY*u.stride:][:u.stride]
	for x := 0; 3*x < len(dst); x++ {
		b := src[x/u.chromaX*unit:][:unit]
		dst[3*x] = b[y%u.chromaY*u.chromaX+x%u.chromaX]
		dst[3*x+1], dst[3*x+2] = b[unit-2], b[unit-1]
	}
}
