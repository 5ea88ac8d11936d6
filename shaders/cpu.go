package shaders

import "math"

// exp32 is e^x in single precision: 2^n times a polynomial over
// [-ln2/2, ln2/2] (Cephes expf), within 2 units in the last place.
func exp32(x float32) float32 {
	if x < -87.3 {
		return 0
	}
	if x > 88.7 {
		return float32(math.Inf(1))
	}
	const magic = 12582912 // 1.5·2^23: adding it rounds to an integer
	n := x*math.Log2E + magic
	k := int32(math.Float32bits(n)) - 0x4B400000
	n -= magic
	r := x - n*0.693359375 + n*2.12194440e-4
	y := float32(1.9875691500e-4)
	y = y*r + 1.3981999507e-3
	y = y*r + 8.3334519073e-3
	y = y*r + 4.1665795894e-2
	y = y*r + 1.6666665459e-1
	y = y*r + 5.0000001201e-1
	y = y*r*r + r + 1
	return y * math.Float32frombits(uint32(k+127)<<23)
}

// sigmoid32 is 1/(1+e^-x).
func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

// rowGrain is how many rows of the given width are worth a goroutine.
func rowGrain(cols int) int { return max(1, elementGrain/max(cols, 1)) }

// sumChunk is the number of rows that one partial sum covers.
const sumChunk = 64

// sumRows adds up values over rows in a fixed order, on all cores. add
// accumulates rows [lo,hi) into acc, which holds the outs one after another;
// the partial sums of the chunks are then added to the outs, or replace them.
func sumRows(h Host, rows int, accumulate bool, add func(lo, hi int, acc []float32), outs ...[]float32) {
	width := 0
	for _, o := range outs {
		width += len(o)
	}
	chunks := (rows + sumChunk - 1) / sumChunk
	partial, release := h.Scratch(chunks * width)
	defer release()
	h.Parallel(chunks, 1, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			acc := partial[c*width : (c+1)*width]
			clear(acc)
			add(c*sumChunk, min((c+1)*sumChunk, rows), acc)
		}
	})
	at := 0
	for _, o := range outs {
		if !accumulate {
			clear(o)
		}
		for c := range chunks {
			addTo(o, partial[c*width+at:][:len(o)])
		}
		at += len(o)
	}
}

// addTo computes y += x.
func addTo(y, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += x[i]
	}
}

// put writes v to y[i], or adds it.
func put(y []float32, i int, v float32, accumulate bool) {
	if accumulate {
		v += y[i]
	}
	y[i] = v
}

// Flag is 1 for true, as parameters carry it.
func Flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
