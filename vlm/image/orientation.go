package image

import (
	"bytes"
	"encoding/hex"
)

// upright returns EXIF's orientation if it is not 0, or else XMP's; 1 if it is invalid.
func upright(exif int64, xmp []byte) int {
	if exif == 0 {
		exif = int64(xmpOrientation(xmp))
	}
	if exif < 1 || exif > 8 {
		return 1
	}
	return int(exif)
}

// xmpOrientation returns tiff:Orientation, an attribute or element, or 0.
func xmpOrientation(xmp []byte) int {
	for {
		_, rest, found := bytes.Cut(xmp, []byte("tiff:Orientation"))
		if !found {
			return 0
		}
		for _, before := range []string{`="`, ">"} {
			if value, ok := bytes.CutPrefix(rest, []byte(before)); ok && len(value) > 0 && value[0] >= '0' && value[0] <= '9' {
				return int(value[0] - '0')
			}
		}
		xmp = rest
	}
}

// jpegOrientation reads the APP1 segments before the pixels.
func jpegOrientation(data []byte) int {
	var exif, xmp []byte
	jpegMarkers(data, func(marker byte, body []byte) bool {
		switch packet, ok := bytes.CutPrefix(body, []byte("http://ns.adobe.com/xap/1.0/\x00")); {
		case marker != markAPP1:
		case ok:
			xmp = packet
		case exif == nil && bytes.HasPrefix(body, []byte(exifName)):
			exif = body
		}
		return marker != markSOS
	})
	return exifOrXMP(exif, xmp)
}

const exifName = "Exif\x00\x00"

// exifOrXMP returns the orientation of an EXIF block, or else of an XMP packet.
func exifOrXMP(exif, xmp []byte) int {
	d := readDirectory(bytes.TrimPrefix(exif, []byte(exifName)))
	return upright(d.first(tagOrientation, 0), xmp)
}

// pngOrientation reads eXIf, ImageMagick's raw profile and XMP, before or after the pixels.
func pngOrientation(data []byte) int {
	var exif, profile, xmp []byte
	pngChunks(data, func(kind string, body []byte) bool {
		key, _, _ := bytes.Cut(body[:min(len(body), 80)], []byte{0})
		switch {
		case kind == "eXIf":
			exif = body
		case (kind == "tEXt" || kind == "zTXt") && string(key) == "Raw profile type exif":
			profile = rawProfile(pngText(kind, body))
		case kind == "iTXt" && string(key) == "XML:com.adobe.xmp":
			xmp = pngText(kind, body)
		}
		return true
	})
	if exif == nil {
		exif = profile
	}
	return exifOrXMP(exif, xmp)
}

// rawProfile decodes ImageMagick's hexadecimal profile, which follows an empty line, a name
// and a length.
func rawProfile(text []byte) []byte {
	lines := bytes.SplitN(text, []byte("\n"), 4)
	if len(lines) < 4 {
		return nil
	}
	digits := bytes.ReplaceAll(lines[3], []byte("\n"), nil)
	out := make([]byte, len(digits)/2)
	n, _ := hex.Decode(out, digits) // the part before an invalid digit may have the tag
	return out[:n]
}

func webpOrientation(data []byte) int {
	var exif, xmp []byte
	riffChunks(data, func(kind string, body []byte) {
		switch kind {
		case "EXIF":
			exif = body
		case "XMP ":
			xmp = body
		}
	})
	return exifOrXMP(exif, xmp)
}

// A transform maps the pixels of a stored image to the upright one: pixel (x, y) becomes
// pixel origin + x*right + y*down.
type transform struct {
	w, h                int // of the upright image
	origin, right, down int
}

func newTransform(orientation, w, h int) transform {
	switch last := w*h - 1; orientation {
	case 2: // mirrored left to right
		return transform{w, h, w - 1, -1, w}
	case 3: // upside down
		return transform{w, h, last, -1, -w}
	case 4: // mirrored top to bottom
		return transform{w, h, last - (w - 1), 1, -w}
	case 5: // mirrored about the main diagonal
		return transform{h, w, 0, h, 1}
	case 6: // to be rotated clockwise
		return transform{h, w, h - 1, h, -1}
	case 7: // mirrored about the other diagonal
		return transform{h, w, last, -h, -1}
	case 8: // to be rotated anticlockwise
		return transform{h, w, last - (h - 1), -h, 1}
	}
	return transform{w, h, 0, 1, w}
}

// put writes line y of the stored image to pix.
func (t transform) put(pix, line []byte, y int) {
	to := 3 * (t.origin + y*t.down)
	if t.right == 1 {
		copy(pix[to:], line)
		return
	}
	for i := 0; i < len(line); i += 3 {
		copy(pix[to:to+3], line[i:i+3])
		to += 3 * t.right
	}
}
