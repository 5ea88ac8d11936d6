package image

import (
	"math"

	"patchwork/vlm/image/simd"
)

// sample returns the i-th sample of a line in 8 bits: palette indices unchanged, 1 to 4 bits
// scaled, 12 and 16 bits by the high 8, 32 bits and floating point clamped to 0 to 255.
func (t *tiffImage) sample(src []byte, i int) byte {
	switch t.bits {
	case 8:
		return src[i]
	case 16:
		v := t.order.Uint16(src[2*i:])
		if t.format == 2 && v >= 1<<15 {
			return 0
		}
		return byte(v >> 8)
	case 12:
		at := i * 3 / 2
		if i%2 == 0 {
			return src[at]
		}
		return src[at]<<4 | src[at+1]>>4
	case 32:
		return t.wideSample(src[4*i:])
	}
	v := src[i*t.bits/8] >> (8 - t.bits - i*t.bits%8) & (1<<t.bits - 1)
	if t.photo == photoMap {
		return v
	}
	return v * (255 / (1<<t.bits - 1))
}

func (t *tiffImage) wideSample(b []byte) byte {
	v := t.order.Uint32(b)
	switch t.format {
	case 3:
		f := math.Float32frombits(v)
		if !(f > 0) { // NaN too
			return 0
		}
		return byte(min(f, 255))
	case 2:
		return clamp(int32(v))
	}
	return byte(min(v, 255))
}

// lines returns a function that reads pix, [h, w, kept], as RGB composited over white.
func (t *tiffImage) lines(pix []byte) func(dst []byte, y int) {
	kept := t.kept()
	var table [256][3]byte
	switch {
	case t.photo == photoMap:
		table = t.colourMap()
	case t.colours == 1:
		for i := range table {
			v := byte(i)
			if t.photo == whiteIsZero && t.format != 3 {
				v = 255 - v
			}
			table[i] = [3]byte{v, v, v}
		}
	}
	return func(dst []byte, y int) {
		src := pix[y*t.w*kept:][:t.w*kept]
		switch {
		case t.colours == 4:
			cmykLine(dst, src)
			return
		case t.colours == 1:
			for x := range t.w {
				*(*[3]byte)(dst[3*x:]) = table[src[x*kept]]
			}
		case t.photo == photoLab:
			for x := range t.w {
				labPixel(dst[3*x:3*x+3], src[x*kept:])
			}
		default:
			for x := range t.w {
				copy(dst[3*x:3*x+3], src[x*kept:])
			}
		}
		if t.photo == photoYCC && t.compression != packJPEG && t.compression != packJPEGOld {
			t.yccLine(dst)
		}
		if t.alpha != 0 {
			t.overWhite(dst, src, kept)
		}
	}
}

// overWhite composites a line over white. Colours with associated alpha are first divided by
// it, as in Pillow (libImaging/Unpack.c).
func (t *tiffImage) overWhite(dst, src []byte, kept int) {
	for x := range t.w {
		a := src[x*kept+kept-1]
		for k := 3 * x; k < 3*x+3; k++ {
			if t.alpha == 1 && a != 0 {
				dst[k] = byte(min(255, int(dst[k])*255/int(a)))
			}
			dst[k] = overWhite(dst[k], a)
		}
	}
}

// colourMap reads the palette: all reds, all greens, all blues, of 16 bits.
func (t *tiffImage) colourMap() (table [256][3]byte) {
	n := t.count(tagColourMap) / 3
	for i := range min(n, 256) {
		for k := range 3 {
			table[i][k] = byte(t.value(tagColourMap, k*n+i) >> 8)
		}
	}
	return table
}

// yccLine converts YCbCr to RGB in place: as libtiff does or, without compression, as Pillow
// itself does, with 6 fractional bits (libImaging/ConvertYCbCr.c).
func (t *tiffImage) yccLine(dst []byte) {
	for x := 0; x < len(dst); x += 3 {
		p := dst[x : x+3]
		if t.compression != packNone {
			simd.FullRange(p, p[:1], p[1:2], p[2:])
			continue
		}
		y, u, v := int32(p[0]), float64(p[1])-128, float64(p[2])-128
		fixed := func(f float64) int32 { return int32(float64(64*f) + 0.5) } // truncated, as in its tables
		p[0] = clamp(y + fixed(1.402*v)>>6)
		p[1] = clamp(y + (fixed(-0.34414*u)+fixed(-0.71414*v))>>6)
		p[2] = clamp(y + fixed(1.772*u)>>6)
	}
}

// labPixel converts CIE L*a*b* (D50; a and b signed) to sRGB.
func labPixel(dst, lab []byte) {
	l := float64(lab[0]) * 100 / 255
	fy := (l + 16) / 116
	fx := fy + float64(int8(lab[1]))/500
	fz := fy - float64(int8(lab[2]))/200
	inverse := func(f float64) float64 {
		if f > 6.0/29 {
			return f * f * f
		}
		return (f - 16.0/116) * 108 / 841
	}
	x, y, z := 0.9642*inverse(fx), inverse(fy), 0.8249*inverse(fz)
	// XYZ of D50 to linear sRGB, by Bradford's adaptation (IEC 61966-2-1).
	dst[0] = srgbByte(3.1338561*x - 1.6168667*y - 0.4906146*z)
	dst[1] = srgbByte(-0.9787684*x + 1.9161415*y + 0.0334540*z)
	dst[2] = srgbByte(0.0719453*x - 0.2289914*y + 1.4052427*z)
}

func srgbByte(v float64) byte {
	if v <= 0.0031308 {
		v *= 12.92
	} else {
		v = 1.055*math.Pow(v, 1/2.4) - 0.055
	}
	return byte(math.Round(255 * max(0, min(1, v))))
}
