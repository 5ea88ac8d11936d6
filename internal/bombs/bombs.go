// Package bombs makes decompression bombs for tests: images and rows that are highly
// compressed, small on disk and large in memory.
package bombs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"io"
	"strings"

	"patchwork/vlm/data"
)

// Bomb is a row that needs much memory to decode, or too much.
type Bomb struct {
	Name   string
	Row    data.Row
	Usable bool
	Reason string // a part of the reason if it is not usable
}

// PNG's colour types.
const (
	gray, rgb, palette, rgba = 0, 2, 3, 6
)

var turns = []data.Turn{{User: "what color is the shape?", Assistant: "red"}}

// Rows returns bombs of every kind; rows whose image is the bomb have ordinary answers.
func Rows() []Bomb {
	small := PNG(4, 4, 8, gray, 0, 4*5)
	all := []Bomb{
		imageRow("PNG 60000x60000", PNG(60_000, 60_000, 8, rgb, 0, 1<<20), "60000x60000 is more than"),
		imageRow("PNG 8000x8000 of 16 bits", PNG(8000, 8000, 16, rgba, 0, 16<<20), "takes 512 MB to decode"),
		imageRow("PNG 8000x8000 interlaced", PNG(8000, 8000, 8, rgb, 1, 16<<20), "takes 512 MB to decode"),
		imageRow("PNG 8000x8000 of 32 bits", PNG(8000, 8000, 8, rgba, 0, 8000*(1+4*8000)), ""),
		imageRow("PNG 7000x7000 interlaced gray", PNG(7000, 7000, 8, gray, 1, interlaced(7000)), ""),
		imageRow("PNG 4000x4000 with a palette", PNG(4000, 4000, 8, palette, 0, 4000*4001), ""),
		imageRow("PNG 4000x4000 of 1 bit", PNG(4000, 4000, 1, gray, 0, 4000*501), ""),
		imageRow("PNG that inflates beyond its size", PNG(64, 48, 8, gray, 0, 256<<20), ""),
		imageRow("PNG with a colour profile that inflates", withChunk(small, "iCCP", append([]byte("p\x00\x00"), deflated(100<<20)...)), ""),
		imageRow("PNG with a text that inflates", withChunk(small, "zTXt", append([]byte("t\x00\x00"), deflated(100<<20)...)), ""),
		imageRow("PNG with a large text", withChunk(small, "tEXt", make([]byte, 20<<20)), ""),
		imageRow("JPEG 65500x65500", JPEG(65500, 65500, 3, 1, 1<<10), "65500x65500 is more than"),
		imageRow("JPEG 8000x8000 progressive", JPEG(8000, 8000, 3, 1, 1<<20), "takes 768 MB to decode"),
		imageRow("JPEG of 5000 scans", JPEG(4000, 4000, 1, 5000, 1<<20), "too many scans"),
		imageRow("JPEG 6000x6000", plainJPEG(6000, 6000), ""),
		imageRow("GIF 8000x8000 with a frame of one pixel", plainGIF(8000, 8000), ""),
		imageRow("BMP 8000x8000 without pixels", bmpHeader(8000, 8000), "unexpected end of data"),
		imageRow("PNG 8000x8000 of 32 bits with a wrong checksum", wrongChecksum(PNG(8000, 8000, 8, rgba, 0, 8000*(1+4*8000))), ""),
		imageRow("GIF with a frame of 65535x65535", largeFrame(), "65535x65535 is more than"),
		imageRow("BMP 8000x8000 without runs", emptyRuns(8000, 8000), ""),
		imageRow("TIFF 8000x8000 in one strip", tiff(8000, 8000, 8000, 8), "takes 384 MB to decode"),
		imageRow("TIFF 8000x8000 in a thousand strips at one offset", tiff(8000, 8000, 8, 8), ""),
		imageRow("TIFF with strips of 2000 million lines", tiff(60000, 2_000_000_000, 2_000_000_000, 8), "is more than"),
		imageRow("QOI 8000x8000", append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("qoif"), 8000), 8000), append([]byte{4, 0}, bytes.Repeat([]byte{0xfd}, 1_100_000)...)...), ""),
		imageRow("TGA 8000x8000", append([]byte{0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8000 & 255, 8000 >> 8, 8000 & 255, 8000 >> 8, 24, 0}, make([]byte, 4<<20)...), "takes 512 MB to decode"),
		imageRow("PGM 60000x60000", []byte("P5 60000 60000 255 "), "60000x60000 is more than"),
		imageRow("WebP 6000x6000 of 24 bytes", webp(6000, 6000), ""),
		imageRow("WebP 8000x8000 of 24 bytes", webp(8000, 8000), "takes 512 MB to decode"),
	}
	large := PNG(7000, 7000, 1, gray, 0, 7000*876)
	return append(all,
		Bomb{"30 large images", data.Row{Images: repeat(large, 30), Turns: turns}, false, "million pixels in total"},
		Bomb{"10,000 images", data.Row{Images: repeat(small, 10_000), Turns: turns}, true, ""},
		Bomb{"100,000 turns", data.Row{Images: repeat(small, 1), Turns: repeat(turns[0], 100_000)}, true, ""},
		text("a text of 50 MB", strings.Repeat("fifty megabytes ", 50<<16)),
		text("20 MB of spaces", strings.Repeat(" ", 20<<20)+"yes"),
		text("1,000,000 combining marks", "Z"+strings.Repeat("\u0301", 1_000_000)),
		text("every private character", private()),
	)
}

func imageRow(name string, file []byte, reason string) Bomb {
	return Bomb{name, data.Row{Images: [][]byte{file}, Turns: turns}, reason == "", reason}
}

func text(name, answer string) Bomb {
	return Bomb{name, data.Row{Turns: []data.Turn{{User: "what?", Assistant: answer}}}, true, ""}
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// private are all private-use characters beyond the first plane, from which the chat
// encoder takes its delimiters.
func private() string {
	var b strings.Builder
	for r := rune(0xF0000); r <= 0x10FFFF; r++ {
		b.WriteRune(r)
	}
	return b.String()
}

// interlaced is the number of bytes of a square gray image in seven passes, whose side is
// a multiple of 8. Each line starts with its filter.
func interlaced(side int64) (n int64) {
	for _, pass := range [][2]int64{{8, 8}, {8, 8}, {4, 8}, {4, 4}, {2, 4}, {2, 2}, {1, 2}} {
		n += side / pass[1] * (side/pass[0] + 1)
	}
	return n
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// deflated are n zeros, compressed to a thousandth.
func deflated(n int64) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed) // the level is valid
	io.CopyN(w, zeros{}, n)                         // a buffer takes everything
	w.Close()
	return b.Bytes()
}

// PNG is a file whose pixel data are n zeros.
func PNG(w, h uint32, depth, colour, interlace byte, n int64) []byte {
	head := binary.BigEndian.AppendUint32(nil, w)
	head = binary.BigEndian.AppendUint32(head, h)
	out := chunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", append(head, depth, colour, 0, 0, interlace))
	if colour == palette {
		out = chunk(out, "PLTE", []byte{200, 10, 10, 10, 200, 10})
	}
	return chunk(chunk(out, "IDAT", deflated(n)), "IEND", nil)
}

func chunk(to []byte, kind string, body []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(body)))
	at := len(to)
	to = append(append(to, kind...), body...)
	return binary.BigEndian.AppendUint32(to, crc32.ChecksumIEEE(to[at:]))
}

// withChunk inserts a chunk after a PNG's header.
func withChunk(png []byte, kind string, body []byte) []byte {
	const afterHeader = 8 + 25
	return append(chunk(append([]byte{}, png[:afterHeader]...), kind, body), png[afterHeader:]...)
}

// JPEG is a progressive file of so many components and scans, followed by zeros.
func JPEG(w, h uint16, components, scans, padding int) []byte {
	segment := func(to []byte, marker byte, body []byte) []byte {
		to = append(to, 0xff, marker)
		to = binary.BigEndian.AppendUint16(to, uint16(2+len(body)))
		return append(to, body...)
	}
	frame := binary.BigEndian.AppendUint16([]byte{8}, h)
	frame = append(binary.BigEndian.AppendUint16(frame, w), byte(components))
	for i := range components {
		frame = append(frame, byte(i+1), 0x11, 0)
	}
	out := segment([]byte{0xff, 0xd8}, 0xc2, frame)
	for range scans {
		out = append(segment(out, 0xda, []byte{1, 1, 0, 1, 63, 0}), 0)
	}
	return append(out, make([]byte, padding)...)
}

// flat is an image of one colour that takes no memory.
type flat struct{ w, h int }

func (f flat) ColorModel() color.Model { return color.RGBAModel }
func (f flat) Bounds() image.Rectangle { return image.Rect(0, 0, f.w, f.h) }
func (f flat) At(int, int) color.Color { return color.RGBA{200, 100, 50, 255} }

func plainJPEG(w, h int) []byte {
	var b bytes.Buffer
	jpeg.Encode(&b, flat{w, h}, nil) // a buffer takes everything
	return b.Bytes()
}

func plainGIF(w, h int) []byte {
	var b bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 1, 1), color.Palette{color.Black, color.White})
	gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}, Config: image.Config{Width: w, Height: h}})
	return b.Bytes()
}

func bmpHeader(w, h uint32) []byte {
	out := binary.LittleEndian.AppendUint32([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00"), 54)
	for _, v := range []uint32{40, w, h} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	out = binary.LittleEndian.AppendUint16(out, 1)
	out = binary.LittleEndian.AppendUint16(out, 24)
	return append(out, make([]byte, 24)...)
}

// wrongChecksum breaks the checksum of a PNG's pixels.
func wrongChecksum(png []byte) []byte {
	const end = 12
	png[len(png)-end-1] ^= 1
	return png
}

// largeFrame is a GIF whose frame is larger than its screen.
func largeFrame() []byte {
	small := plainGIF(1, 1)
	at := bytes.IndexByte(small[13:], ',') + 13
	for i := at + 5; i < at+9; i++ {
		small[i] = 255
	}
	return small
}

// emptyRuns is a run-length encoded BMP that ends at once.
func emptyRuns(w, h uint32) []byte {
	out := bmpHeader(w, h)
	out[28], out[30] = 8, 1 // bits, compression
	return append(out, append(make([]byte, 1024), 0, 1)...)
}

// tiff has RGB of zeros, deflated. All its strips are at one offset.
func tiff(w, h, rows uint32, bits uint16) []byte {
	le := binary.LittleEndian
	strip := deflated(min(int64(rows), 1<<14) * int64(w) * 3)
	n := (h + rows - 1) / rows
	entries := [][3]uint32{ // tag, type, value
		{256, 4, w}, {257, 4, h}, {258, 3, uint32(bits)}, {259, 3, 8}, {262, 3, 2}, {273, 4, 0}, {277, 3, 3}, {278, 4, rows}, {279, 4, 0},
	}
	lists := uint32(8 + 2 + 12*len(entries) + 4)
	out := le.AppendUint16(le.AppendUint32([]byte("II*\x00"), 8), uint16(len(entries)))
	for _, e := range entries {
		out = le.AppendUint16(le.AppendUint16(out, uint16(e[0])), uint16(e[1]))
		count, value := uint32(1), e[2]
		if e[0] == 273 || e[0] == 279 {
			count, value = n, lists
			if e[0] == 279 {
				value += 4 * n
			}
			if n == 1 {
				value = map[uint32]uint32{273: lists, 279: uint32(len(strip))}[e[0]]
			}
		}
		out = le.AppendUint32(le.AppendUint32(out, count), value)
	}
	out = append(out, 0, 0, 0, 0)
	if n > 1 {
		for range n {
			out = le.AppendUint32(out, lists+8*n)
		}
		for range n {
			out = le.AppendUint32(out, uint32(len(strip)))
		}
	}
	return append(out, strip...)
}

// webp is a lossless image whose five Huffman codes have one symbol each, so that its
// pixels take no bits.
func webp(w, h uint64) []byte {
	const simple = 0b0001 // one symbol, 0, of one bit
	bits := (w - 1) | (h-1)<<14
	codes := uint64(0)
	for i := range 5 {
		codes |= simple << (4 * i)
	}
	stream := binary.LittleEndian.AppendUint32([]byte{0x2f}, uint32(bits))
	stream = binary.LittleEndian.AppendUint64(stream, codes<<3) // no transform, no cache, one group
	out := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(12+len(stream)+len(stream)&1))
	out = binary.LittleEndian.AppendUint32(append(out, "WEBPVP8L"...), uint32(len(stream)))
	out = append(out, stream...)
	return append(out, make([]byte, len(stream)&1)...)
}
