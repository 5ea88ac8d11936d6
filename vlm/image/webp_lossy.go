package image

import (
	"encoding/binary"
	"image"

	"patchwork/vlm/image/vp8"
)

// decodeLossyWebP decodes a file that holds nothing but a lossy image without alpha, and
// metadata. It returns nil for other files and damaged ones.
func decodeLossyWebP(data []byte, hd header) *image.YCbCr {
	frame := lossyFrame(data)
	if frame == nil {
		return nil
	}
	if w, h, err := vp8.Size(frame); err != nil || w != hd.w || h != hd.h {
		return nil
	}
	m, err := vp8.Decode(frame)
	if err != nil {
		return nil
	}
	return m
}

// lossyFrame returns the frame of a complete WebP file without alpha and animation, or nil.
func lossyFrame(data []byte) (frame []byte) {
	if int(binary.LittleEndian.Uint32(data[4:]))+8 != len(data) {
		return nil
	}
	end, extended, ordinary := 12, false, true
	riffChunks(data, func(kind string, body []byte) {
		end += 8 + len(body) + len(body)&1
		switch kind {
		case "VP8 ":
			ordinary = ordinary && frame == nil
			frame = body
		case "VP8X":
			const alphaOrAnimation = 0x12
			ordinary = ordinary && !extended && frame == nil && len(body) == 10 && body[0]&alphaOrAnimation == 0
			extended = true
		case "ALPH", "VP8L", "ANIM", "ANMF":
			ordinary = false
		}
	})
	if !ordinary || end != len(data) {
		return nil
	}
	return frame
}
