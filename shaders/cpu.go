package shaders

import "patchwork/shaders/simd"

// rowGrain is how many rows of the given width are worth a goroutine.
func rowGrain(cols int) int { return max(1, elementGrain/max(cols, 1)) }

// sumChunk is the number of rows that one partial sum covers.
const sumChunk = 64

// sumRows adds up values over rows in a fixed order, on all cores. add accumulates rows
// [lo,hi) into acc, the concatenation of outs; the partial sums of the chunks are then
// added to outs, or replace them.
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
func addTo(y, x []float32) { simd.Add(y, y, x) }

// addScaled computes y += factor·x.
func addScaled(y, x []float32, factor float32) {
	if factor == 1 {
		addTo(y, x)
		return
	}
	for i := range y {
		y[i] += factor * x[i]
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
