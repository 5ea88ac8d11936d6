package image

import (
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
	across := triangle(w, wide, cropOffset(wide, size), size)
	down := triangle(h, high, cropOffset(high, size), size)

	stride := 3 * size
	m := windows.Get().(*window)
	defer func() {
		if cap(m.line)+cap(m.rows) <= maxWindow {
			windows.Put(m)
		}
	}()
	m.line = grow(m.line, 3*w+spare)
	lines := min(h, down.N+windowLines)
	m.rows = grow(m.rows, lines*stride+spare) // [lines, size, 3]
	out := make([]byte, size*stride)
	base := int(down.First[0]) // the line at the start of rows
	next := base               // the next line to be resized
	for y := range size {
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

// triangle returns the weights of outputs first to first+count-1 when resizing in values to
// out. When shrinking, the filter widens with the scale.
func triangle(in, out, first, count int) simd.Filter {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	all := make([]taps, count)
	f := simd.Filter{First: make([]int32, count)}
	var weights []float64
	var fixed []int32
	for i := range all {
		// The conversion prevents a fused multiply-add, which rounds differently.
		centre := float64((float64(first+i) + 0.5) * scale)
		low := max(int(centre-support+0.5), 0)
		high := min(int(centre+support+0.5), in)
		weights = weights[:0]
		total := 0.0
		for j := low; j < high; j++ {
			distance := float64((float64(j) - centre + 0.5) * (1 / support))
			w := max(0, 1-max(distance, -distance))
			weights = append(weights, w)
			total += w
		}
		from := len(fixed)
		fixed = appendFixed(fixed, weights, total)
		all[i] = taps{low, from, len(fixed) - from}
		f.N = max(f.N, len(fixed)-from)
	}
	f.N = min(f.N+f.N%2, in)
	f.Weights = make([]int32, count*f.N)
	for i, t := range all {
		start := min(t.first, in-f.N)
		f.First[i] = int32(start)
		copy(f.Weights[i*f.N+t.first-start:], fixed[t.from:][:t.count])
	}
	return f
}

// taps are the inputs of one output, and where their weights are.
type taps struct{ first, from, count int }

// appendFixed appends the weights in fixed point, normalised, without trailing zeros: if the
// size does not change, one weight of two is left.
func appendFixed(fixed []int32, weights []float64, total float64) []int32 {
	for weights[len(weights)-1] == 0 {
		weights = weights[:len(weights)-1]
	}
	for _, w := range weights {
		fixed = append(fixed, int32(0.5+float64(w/total*(1<<simd.FractionBits))))
	}
	return fixed
}
