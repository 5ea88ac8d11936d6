package simd

// FractionBits is the precision of the weights in Pillow's 8-bit resize, whose passes each
// round to 8 bits (libImaging/Resample.c).
const FractionBits = 22

const rounding = 1 << (FractionBits - 1)

// A Filter has the weights of each output: output i is the sum of the inputs First[i] to
// First[i]+N-1, multiplied with Weights[i*N:(i+1)*N].
type Filter struct {
	N              int
	First, Weights []int32
}

// Row computes a line of the horizontal pass, from RGB to RGB. It is faster if dst and src
// have two bytes more than their pixels.
func (f *Filter) Row(dst, src []byte) {
	done := 0
	if hasAVX2 && f.N%2 == 0 {
		done = min(len(f.First), (len(dst)-1)/3)
		for done > 0 && 3*(int(f.First[done-1])+f.N)+2 > len(src) {
			done--
		}
		if done > 0 {
			resizeRowAVX2(&dst[0], &src[0], &f.First[0], &f.Weights[0], f.N/2, done)
		}
	}
	f.row(dst, src, done)
}

// row computes the outputs from index from.
func (f *Filter) row(dst, src []byte, from int) {
	for x := from; x < len(f.First); x++ {
		r, g, b := int32(rounding), int32(rounding), int32(rounding)
		in := src[3*f.First[x]:][:3*f.N]
		for i, w := range f.Weights[x*f.N:][:f.N] {
			p := in[3*i : 3*i+3 : 3*i+3]
			r += w * int32(p[0])
			g += w * int32(p[1])
			b += w * int32(p[2])
		}
		dst[3*x] = clamp(r >> FractionBits)
		dst[3*x+1] = clamp(g >> FractionBits)
		dst[3*x+2] = clamp(b >> FractionBits)
	}
}

// Column computes line i of the vertical pass. src holds the lines from first on, of
// len(dst) bytes each.
func (f *Filter) Column(dst, src []byte, first, i int) {
	n := len(dst)
	weights := f.Weights[i*f.N:][:f.N]
	src = src[(int(f.First[i])-first)*n:][:f.N*n]
	if !hasAVX2 || n < 32 {
		weightedSum(dst, src, weights)
		return
	}
	resizeColumnsAVX2(&dst[0], &src[0], n, &weights[0], f.N, n/32)
	if n%32 != 0 { // again with the last 32
		resizeColumnsAVX2(&dst[n-32], &src[n-32], n, &weights[0], f.N, 1)
	}
}

// weightedSum adds weighted lines, in chunks that keep their sums in the cache.
func weightedSum(dst, src []byte, weights []int32) {
	var sums [256]int32
	for from := 0; from < len(dst); from += len(sums) {
		out := dst[from:min(from+len(sums), len(dst))]
		for i := range out {
			sums[i] = rounding
		}
		for k, w := range weights {
			line := src[k*len(dst)+from:][:len(out)]
			for i, v := range line {
				sums[i] += w * int32(v)
			}
		}
		for i, v := range sums[:len(out)] {
			out[i] = clamp(v >> FractionBits)
		}
	}
}
