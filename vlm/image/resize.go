package image

// fractionBits is the precision of the weights in Pillow's 8-bit resize, whose passes each
// round to 8 bits (libImaging/Resample.c).
const fractionBits = 22

// taps are the weights of the inputs of one output value.
type taps struct {
	first   int // the first input
	weights []int32
}

// Preprocess resizes the shorter side of img to size with Pillow's antialiased bilinear
// filter and crops the centre, like torchvision's Resize(size) and CenterCrop(size). It
// returns [size, size, 3] bytes, bit for bit the same, and computes only the pixels in the
// crop. It returns nil for a size below 1 or an empty image.
func Preprocess(img *RGB, size int) []byte {
	if size < 1 || img.W < 1 || img.H < 1 {
		return nil
	}
	w, h := resizedSize(img.W, img.H, size)
	across := triangle(img.W, w, cropOffset(w, size), size)
	down := triangle(img.H, h, cropOffset(h, size), size)

	top := down[0].first
	bottom := down[size-1].first + len(down[size-1].weights)
	rows := make([]byte, (bottom-top)*size*3) // [bottom-top, size, 3]
	for y := top; y < bottom; y++ {
		resizeRow(rows[(y-top)*size*3:][:size*3], img.Pix[y*img.W*3:][:img.W*3], across)
	}
	return resizeColumns(rows, down, size*3)
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

// triangle returns the taps of outputs first to first+count-1 when resizing in values to
// out. When shrinking, the filter widens with the scale.
func triangle(in, out, first, count int) []taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	all := make([]taps, count)
	var weights []float64
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
		all[i] = taps{low, fixedPoint(weights, total)}
	}
	return all
}

// fixedPoint converts weights to fixed point, normalised, without trailing zeros: if the
// size does not change, one weight of two is left.
func fixedPoint(weights []float64, total float64) []int32 {
	for weights[len(weights)-1] == 0 {
		weights = weights[:len(weights)-1]
	}
	fixed := make([]int32, len(weights))
	for i, w := range weights {
		fixed[i] = int32(0.5 + float64(w/total*(1<<fractionBits)))
	}
	return fixed
}

// resizeRow computes one line of the horizontal pass.
func resizeRow(dst, src []byte, across []taps) {
	for x, t := range across {
		r, g, b := int32(1<<(fractionBits-1)), int32(1<<(fractionBits-1)), int32(1<<(fractionBits-1))
		in := src[3*t.first:]
		in = in[:3*len(t.weights)]
		for i, w := range t.weights {
			p := in[3*i : 3*i+3 : 3*i+3]
			r += w * int32(p[0])
			g += w * int32(p[1])
			b += w * int32(p[2])
		}
		dst[3*x] = clamp(r >> fractionBits)
		dst[3*x+1] = clamp(g >> fractionBits)
		dst[3*x+2] = clamp(b >> fractionBits)
	}
}

// resizeColumns computes the vertical pass. src has lines of stride values, starting with
// the first that down needs.
func resizeColumns(src []byte, down []taps, stride int) []byte {
	out := make([]byte, len(down)*stride)
	sums := make([]int32, stride)
	for y, t := range down {
		for i := range sums {
			sums[i] = 1 << (fractionBits - 1)
		}
		for k, w := range t.weights {
			line := src[(t.first-down[0].first+k)*stride:][:stride]
			for i, v := range line {
				sums[i] += w * int32(v)
			}
		}
		line := out[y*stride:][:stride]
		for i, v := range sums {
			line[i] = clamp(v >> fractionBits)
		}
	}
	return out
}
