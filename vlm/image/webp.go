package image

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/webp"
)

// riffChunks calls each for every chunk of a WebP file.
func riffChunks(data []byte, each func(kind string, body []byte)) {
	const head = 12
	if len(data) > head {
		chunks(data[head:], each)
	}
}

func chunks(data []byte, each func(kind string, body []byte)) {
	for len(data) >= 8 {
		n := int(binary.LittleEndian.Uint32(data[4:]))
		if n > len(data)-8 {
			return
		}
		each(string(data[:4]), data[8:8+n])
		data = data[min(len(data), 8+n+n&1):]
	}
}

// animated reports whether a WebP file's extended header has the animation flag.
func animated(data []byte) bool {
	return len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0
}

// A webpFrame is the first frame of an animation on its transparent canvas.
type webpFrame struct {
	canvas, at image.Point
	size       image.Point
	file       []byte // a WebP file of the frame alone
}

func readWebPFrame(data []byte) (f webpFrame, err error) {
	err = io.ErrUnexpectedEOF
	if len(data) < 30 {
		return f, err
	}
	f.canvas = image.Pt(uint24(data[24:])+1, uint24(data[27:])+1)
	riffChunks(data, func(kind string, body []byte) {
		const head = 16
		if kind != "ANMF" || len(body) < head || f.file != nil {
			return
		}
		f.at = image.Pt(2*uint24(body), 2*uint24(body[3:]))
		f.size = image.Pt(uint24(body[6:])+1, uint24(body[9:])+1)
		f.file = webpFile(f.size, body[head:])
		err = nil
	})
	if err == nil && !(image.Rectangle{f.at, f.at.Add(f.size)}).In(image.Rectangle{Max: f.canvas}) {
		err = formatError("webp", "a frame exceeds the canvas")
	}
	return f, err
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpFile returns a WebP file with the chunks of one frame: pixels and separate alpha.
func webpFile(size image.Point, frame []byte) []byte {
	var body []byte
	alpha := byte(0)
	chunks(frame, func(kind string, b []byte) {
		if kind != "ALPH" && kind != "VP8 " && kind != "VP8L" {
			return
		}
		if kind == "ALPH" {
			alpha = 0x10
		}
		body = binary.LittleEndian.AppendUint32(append(body, kind...), uint32(len(b)))
		body = append(append(body, b...), make([]byte, len(b)&1)...)
	})
	if alpha != 0 {
		head := append([]byte("VP8X\x0a\x00\x00\x00"), alpha, 0, 0, 0)
		head = append(head, byte(size.X-1), byte((size.X-1)>>8), byte((size.X-1)>>16))
		head = append(head, byte(size.Y-1), byte((size.Y-1)>>8), byte((size.Y-1)>>16))
		body = append(head, body...)
	}
	out := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(body)))
	return append(append(out, "WEBP"...), body...)
}

func webpConfig(data []byte) (image.Config, error) {
	if !animated(data) {
		return webp.DecodeConfig(bytes.NewReader(data))
	}
	f, err := readWebPFrame(data)
	if err != nil {
		return image.Config{}, err
	}
	c, err := webp.DecodeConfig(bytes.NewReader(f.file))
	if err == nil && image.Pt(c.Width, c.Height) != f.size {
		err = formatError("webp", "a frame's size differs from its header")
	}
	return image.Config{ColorModel: color.NRGBAModel, Width: f.canvas.X, Height: f.canvas.Y}, err
}

// webpMemory estimates the memory: a lossless image with a palette is decoded twice, and
// has Huffman trees for tiles; the alpha plane of an extended one may be such an image. The
// frame of an animation takes its own memory.
func webpMemory(data []byte, c image.Config) int64 {
	if animated(data) {
		f, err := readWebPFrame(data)
		if err != nil {
			return 0
		}
		return rendered(c, 1) + webpMemory(f.file, image.Config{Width: f.size.X, Height: f.size.Y})
	}
	const trees, bitsEach, treeBytes = 1 << 16, 20, 2700
	groups := min(trees, int64(len(data))*8/bitsEach) * treeBytes
	switch {
	case len(data) > 15 && data[15] == 'L':
		return rendered(c, 8) + groups
	case len(data) > 15 && data[15] == 'X':
		return rendered(c, 3+8+3) + groups
	}
	return rendered(c, 2)
}

func decodeWebP(data []byte, hd header) (source, error) {
	if !animated(data) {
		if m := decodeLossyWebP(data, hd); m != nil {
			return fromImage(m, hd)
		}
		m, err := webp.Decode(bytes.NewReader(data))
		if err != nil {
			return source{}, err
		}
		return fromImage(m, hd)
	}
	f, err := readWebPFrame(data)
	if err != nil {
		return source{}, err
	}
	m, err := webp.Decode(bytes.NewReader(f.file))
	if err != nil {
		return source{}, err
	}
	frame, err := fromImage(m, header{format: hd.format, w: f.size.X, h: f.size.Y})
	if err != nil {
		return source{}, err
	}
	return source{line: func(dst []byte, y int) {
		for i := range dst {
			dst[i] = 255
		}
		if y -= f.at.Y; y >= 0 && y < f.size.Y {
			frame.line(dst[3*f.at.X:3*(f.at.X+f.size.X)], y)
		}
	}}, nil
}
