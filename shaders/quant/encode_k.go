package quant

import (
	"math"

	"patchwork/shaders/half"
)

func encodeQ4_K(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[144:], src[256:] {
		q := encodeGroups(dst[:16], src[:256], 15)
		for i := range 128 {
			low, high := &q[i/32*2], &q[i/32*2+1]
			dst[16+i] = low[i%32] | high[i%32]<<4
		}
	}
}

func encodeQ5_K(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[176:], src[256:] {
		q := encodeGroups(dst[:16], src[:256], 31)
		clear(dst[16:48])
		for group := range q {
			for i, v := range q[group] {
				dst[16+i] |= v >> 4 << group
			}
		}
		for i := range 128 {
			low, high := &q[i/32*2], &q[i/32*2+1]
			dst[48+i] = low[i%32]&15 | high[i%32]<<4
		}
	}
}

// encodeGroups writes the head of a Q4_K or Q5_K block, its scales and minima, and returns
// the integers of its eight groups, 0 to limit.
func encodeGroups(head []byte, x []float32, limit int) (q [8][32]byte) {
	var scales, lows [8]float32
	for g := range 8 {
		scales[g], lows[g] = fitRange(x[32*g:][:32], limit)
	}
	_, scale := limits(scales[:])
	_, low := limits(lows[:])
	d, dmin := scale/63, low/63
	putF16(head, d)
	putF16(head[2:], dmin)
	f16 := half.Table()
	d, dmin = f16[word(head)], f16[word(head[2:])] // as they are read
	packed := head[4:16]
	clear(packed)
	for g := range 8 {
		s, m := sixBits(scales[g], d), sixBits(lows[g], dmin)
		putScaleAndMin(packed, g, s, m)
		q[g] = integers(x[32*g:][:32], -dmin*float32(m), inverse(d*float32(s)), 0.5, limit)
	}
	return q
}

func sixBits(x, unit float32) byte {
	return byte(max(0, min(63, math.Round(float64(x*inverse(unit))))))
}

// putScaleAndMin packs what scaleAndMin unpacks, into zeros, in the order of the groups.
func putScaleAndMin(packed []byte, group int, scale, low byte) {
	if group < 4 {
		packed[group], packed[group+4] = scale, low
		return
	}
	packed[group+4] = scale&15 | low<<4
	packed[group-4] |= scale >> 4 << 6
	packed[group] |= low >> 4 << 6
}

// rangeTries is how many scales fitRange tries around that of the range.
const rangeTries = 20

// fitRange returns the scale and the minimum low ≥ 0 with the smallest weighted error of
// scale·q - low for integers q from 0 to limit: for every scale that it tries, the integers
// give the best scale and minimum by least squares.
func fitRange(x []float32, limit int) (scale, low float32) {
	lowest, highest := limits(x)
	lowest = min(lowest, 0)
	if highest <= lowest {
		return 0, -lowest
	}
	var squares float32
	for _, v := range x {
		squares += v * v
	}
	spread := float32(math.Sqrt(float64(squares) / float64(len(x))))
	var fit rangeFit
	for _, v := range x {
		k := spread + abs(v)
		fit.w, fit.wx, fit.wxx = fit.w+k, fit.wx+k*v, fit.wxx+k*v*v
	}
	scale, low = (highest-lowest)/float32(limit), -lowest // if all values are the same
	best := float32(math.Inf(1))
	for try := range rangeTries + 1 {
		inv := (float32(limit) + 0.1*float32(try-rangeTries/2)) / (highest - lowest)
		fit.wq, fit.wqq, fit.wqx = 0, 0, 0
		for _, v := range x {
			q := float32(min(limit, int(inv*(v-lowest)+0.5))) // not negative
			k := (spread + abs(v)) * q
			fit.wq, fit.wqq, fit.wqx = fit.wq+k, fit.wqq+k*q, fit.wqx+k*v
		}
		if s, l := fit.solve(); s > 0 {
			if e := fit.err(s, l); e < best {
				best, scale, low = e, s, l
			}
		}
	}
	return scale, low
}

// rangeFit are weighted sums over values x and their integers q.
type rangeFit struct{ w, wx, wxx, wq, wqq, wqx float32 }

// solve returns the scale and the minimum of the smallest error, the minimum not negative.
func (f *rangeFit) solve() (scale, low float32) {
	if det := f.w*f.wqq - f.wq*f.wq; det > 0 {
		scale, low = (f.w*f.wqx-f.wx*f.wq)/det, (f.wq*f.wqx-f.wqq*f.wx)/det
	}
	if low < 0 && f.wqq > 0 {
		return f.wqx / f.wqq, 0
	}
	return scale, low
}

// err is the weighted squared error of scale·q - low.
func (f *rangeFit) err(scale, low float32) float32 {
	return scale*scale*f.wqq + low*low*f.w + f.wxx - 2*scale*low*f.wq - 2*scale*f.wqx + 2*low*f.wx
}

func encodeQ6_K(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[210:], src[256:] {
		var scales [16]float32
		for g := range scales {
			scales[g] = fitScale(src[16*g:][:16])
		}
		putF16(dst[208:], extreme(scales[:])/-128)
		unit := half.Table()[word(dst[208:])]
		clear(dst[:192])
		for g := range scales {
			s := max(-128, min(127, math.Round(float64(scales[g]*inverse(unit)))))
			dst[192+g] = byte(int8(s))
			inv := inverse(unit * float32(s))
			for i, v := range src[16*g:][:16] {
				q := byte(max(-32, min(31, int(math.Round(float64(v*inv))))) + 32)
				at := 16*g + i // in four parts of 32 values in each half of the block
				part, in, within := at/128, at/32%4, at%32
				dst[64*part+32*(in%2)+within] |= q & 15 << (4 * (in / 2))
				dst[128+32*part+within] |= q >> 4 << (2 * in)
			}
		}
	}
}

// scaleTries is how many scales fitScale tries on each side of the largest value's.
const scaleTries = 9

// fitScale returns the scale with the smallest error of scale·q, weighted by the squares of
// the values, for integers q from -32 to 31.
func fitScale(x []float32) float32 {
	most := extreme(x)
	if most == 0 {
		return 0
	}
	var best, scale float32
	for try := -scaleTries; try <= scaleTries; try++ {
		inv := -(32 + 0.1*float32(try)) / most
		var xq, qq float32
		for _, v := range x {
			q := float32(max(0, min(63, int(inv*v+32.5)))) - 32
			k := v * v * q
			xq, qq = xq+k*v, qq+k*q
		}
		if qq > 0 && xq*xq > best*qq {
			best, scale = xq*xq/qq, xq/qq
		}
	}
	return scale
}
