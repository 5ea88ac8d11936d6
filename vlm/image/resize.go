package image

import (
	"slices"
	"sync"

	"patchwork/vlm/image/simd"
)

// Preprocess resizes the shorter side of img to size with Pillow's antialiased bilinear
// filter and crops the centre, like torchvision's Resize(size) and CenterCrop(size). It
// returns [size, size, 3] bytes, bit for bit the same, and computes only the pixels in the
// crop. It returns nil for a size below 1 or an empty image.
func Preprocess(img *RGB, size int) []byte {
	if size < 1 || img.W < 1 || img.H < 1 {
		return nil
	}
	return preprocess(img.W, img.H, size, func(_ []byte, y int) []byte {
		return img.Pix[y*img.W*3 : min(len(img.Pix), (y+1)*img.W*3+spare)]
	})
}

// spare is the number of bytes that the horizontal pass reads after a line.
const spare = 2

// windowLines is the number of lines that the vertical pass has in memory beyond those of
// one output.
const windowLines = 32

// maxWindow limits the bytes of a window that is kept for another image.
const maxWindow = 4 << 20

// A window holds lines of the horizontal pass, and a line before it.
type window struct{ line, rows []byte }

var windows = sync.Pool{New: func() any { return new(window) }}

// grow returns b with n bytes, which may be in new memory.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// preprocess resizes and crops an image of w times h pixels. line returns the RGB of a line,
// which may be in the buffer it is passed, with spare bytes after it except at the end.
func preprocess(w, h, size int, line func(buffer []byte, y int) []byte) []byte {
	wide, high := resizedSize(w, h, size)
	return resample(w, h, triangle.filter(w, wide, cropOffset(wide, size), size), triangle.filter(h, high, cropOffset(high, size), size), line)
}

// resample resizes an image of w times h pixels with a filter across and one down. line is as in
// preprocess.
func resample(w, h int, across, down simd.Filter, line func(buffer []byte, y int) []byte) []byte {
	stride, height := 3*len(across.First), len(down.First)
	m := windows.Get().(*window)
	defer func() {
		if cap(m.line)+cap(m.rows) <= maxWindow {
			windows.Put(m)
		}
	}()
	m.line = grow(m.line, 3*w+spare)
	lines := min(h, down.N+windowLines)
	m.rows = grow(m.rows, lines*stride+spare) // [lines, width, 3]
	out := make([]byte, height*stride)
	base := int(down.First[0]) // the line at the start of rows
	next := base               // the next line to be resized
	for y := range height {
		first := int(down.First[y])
		for ; next < first+down.N; next++ {
			if next-base == lines {
				copy(m.rows, m.rows[(first-base)*stride:lines*stride])
				base = first
			}
			across.Row(m.rows[(next-base)*stride:][:stride+spare], line(m.line, next))
		}
		down.Column(out[y*stride:][:stride], m.rows, base, y)
	}
	return out
}

// resizedSize returns the size after torchvision's Resize: the longer side is rounded down.
func resizedSize(w, h, size int) (int, int) {
	if w <= h {
		return size, size * h / w
	}
	return size * w / h, size
}

// cropOffset returns half of side-size, rounded half to even.
func cropOffset(side, size int) int {
	cut := side - size
	half := cut / 2
	if cut%2 == 1 && half%2 == 1 {
		half++
	}
	return half
}

// A kernel weights the inputs of an output by their distance to its centre.
type kernel struct {
	support float64 // the distance from which on weights are 0
	weight  func(distance float64) float64
	// short keeps weights below 2^15, by fewer fractional bits where the largest is large, as
	// PyTorch's resize of 8-bit images (aten/native/cpu/UpSampleKernel.cpp).
	short bool
}

// triangle is Pillow's bilinear filter.
var triangle = kernel{support: 1, weight: func(x float64) float64 { return max(0, 1-max(x, -x)) }}

// cubic is Keys' bicubic filter with a = -0.5, antialiased, as in PyTorch. The conversions prevent
// fused multiply-adds, which round differently.
var cubic = kernel{support: 2, short: true, weight: func(x float64) float64 {
	switch x = max(x, -x); {
	case x < 1:
		return float64(float64(float64(float64(1.5*x)-2.5)*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(-0.5*x)+2.5)*x)-4)*x) + 2
	}
	return 0
}}

// filter returns the weights of outputs first to first+count-1 when resizing in values to
// out. When shrinking, the filter widens with the scale.
func (k kernel) filter(in, out, first, count int) simd.Filter {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := float64(k.support * stretch)
	all := make([]taps, count)
	f := simd.Filter{First: make([]int32, count)}
	var weights []float64
	for i := range all {
		// The conversion prevents a fused multiply-add, which rounds differently.
		centre := float64((float64(first+i) + 0.5) * scale)
		low := max(int(centre-support+0.5), 0)
		high := min(int(centre+support+0.5), in)
		from, total := len(weights), 0.0
		for j := low; j < high; j++ {
			w := k.weight(float64((float64(j) - centre + 0.5) * (1 / stretch)))
			weights = append(weights, w)
			total += w
		}
		for j := range weights[from:] {
			weights[from+j] /= total
		}
		for weights[len(weights)-1] == 0 { // if the size does not change, one weight is left
			weights = weights[:len(weights)-1]
		}
		all[i] = taps{low, from, len(weights) - from}
		f.N = max(f.N, len(weights)-from)
	}
	f.N = min(f.N+f.N%2, in)
	f.Weights = make([]int32, count*f.N)
	bits := k.bits(weights)
	for i, t := range all {
		start := min(t.first, in-f.N)
		f.First[i] = int32(start)
		for j, w := range weights[t.from:][:t.count] {
			// Rounded at bits, then with as many zero bits as the sums need: these are the same.
			f.Weights[i*f.N+t.first-start+j] = fixedPoint(w, bits) << (simd.FractionBits - bits)
		}
	}
	return f
}

// taps are the inputs of one output, and where their weights are.
type taps struct{ first, from, count int }

// bits returns the number of fractional bits of a filter's weights.
func (k kernel) bits(weights []float64) int {
	if !k.short || len(weights) == 0 {
		return simd.FractionBits
	}
	bits, largest := 0, slices.Max(weights)
	for bits < simd.FractionBits && int(0.5+float64(largest*float64(int(1)<<(bits+1)))) < 1<<15 {
		bits++
	}
	return bits
}

// fixedPoint rounds half away from zero.
func fixedPoint(w float64, bits int) int32 {
	scaled := float64(w * float64(int(1)<<bits))
	if w < 0 {
		return int32(scaled - 0.5)
	}
	return int32(scaled + 0.5)
}
