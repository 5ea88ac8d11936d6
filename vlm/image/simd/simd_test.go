package simd

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// needAssembly skips a test where the Go forms are all there is.
func needAssembly(t *testing.T) {
	t.Helper()
	if !hasAVX2 {
		t.Skip("this processor has no AVX2")
	}
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// TestInverseDCT compares both forms for ordinary and for overflowing coefficients.
func TestInverseDCT(t *testing.T) {
	needAssembly(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		var c [64]int16
		var q [64]int32
		for i := range q {
			q[i] = 1 + int32(r.Uint32N(1<<(1+uint(round)%16)))
		}
		for range round % 70 {
			c[r.IntN(1+round%64)] = int16(r.Uint32()) >> (round % 15)
		}
		const stride = 11
		got, want := make([]byte, 8*stride), make([]byte, 8*stride)
		InverseDCT(got, stride, &c, &q)
		inverseDCT(want, stride, &c, &q)
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: differs:\n%v\n%v", round, got, want)
		}
		c = [64]int16{c[0]}
		FlatBlock(got, stride, c[0], &q)
		inverseDCT(want, stride, &c, &q)
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: a flat block of %d times %d differs", round, c[0], q[0])
		}
	}
}

// TestLines compares both forms for lines of all lengths.
func TestLines(t *testing.T) {
	needAssembly(t)
	for n := 1; n < 100; n++ {
		a, b, c := random(1, n), random(2, n), random(3, n)
		compare := func(name string, got, want []byte) {
			t.Helper()
			if !bytes.Equal(got, want) {
				t.Errorf("%s of %d: differs", name, n)
			}
		}
		got, want := make([]byte, 3*n), make([]byte, 3*n)
		FullRange(got, a, b, c)
		fullRange(want, a, b, c)
		compare("FullRange", got, want)

		LimitedRange(got, a, b, c)
		limitedRange(want, a, b, c)
		compare("LimitedRange", got, want)
		got, want = make([]byte, n), make([]byte, n)
		half := (n + 1) / 2
		UpsampleWebP(got, a, b)
		copy(want[n-1:], got[n-1:])
		want[0] = got[0]
		upsample(want, a[:half], b[:half])
		compare("UpsampleWebP", got, want)

		got, want = make([]byte, 2*n), make([]byte, 2*n)
		DoubleLine(got, a)
		doubleLine(want, a)
		want[0], want[2*n-1] = a[0], a[n-1]
		compare("DoubleLine", got, want)
		DoubleLines(got, a, b)
		doubleLines(want, a, b)
		want[0], want[2*n-1] = got[0], got[2*n-1]
		compare("DoubleLines", got, want)
	}
}

// TestColourValues compares both forms for all chroma values.
func TestColourValues(t *testing.T) {
	needAssembly(t)
	luma, cb, cr := make([]byte, 256), make([]byte, 256), make([]byte, 256)
	got, want := make([]byte, 3*256), make([]byte, 3*256)
	for u := range 256 {
		for v := range 256 {
			luma[v], cb[v], cr[v] = byte(u*7+v*3), byte(u), byte(v)
		}
		FullRange(got, luma, cb, cr)
		fullRange(want, luma, cb, cr)
		if !bytes.Equal(got, want) {
			t.Fatalf("FullRange of cb %d: differs", u)
		}
		LimitedRange(got, luma, cb, cr)
		limitedRange(want, luma, cb, cr)
		if !bytes.Equal(got, want) {
			t.Fatalf("LimitedRange of cb %d: differs", u)
		}
	}
}

// TestUnfilter compares both forms for all filters, sizes of a pixel and lengths, with
// values that are near each other as well.
func TestUnfilter(t *testing.T) {
	needAssembly(t)
	for filter := byte(1); filter <= 4; filter++ {
		for size := 1; size <= 4; size++ {
			for pixels := 1; pixels < 90; pixels++ {
				line, above := random(1, pixels*size), random(2, pixels*size)
				for i := range line {
					if pixels%2 == 0 {
						line[i], above[i] = line[i]&3, above[i]&3
					}
				}
				want := bytes.Clone(line)
				unfilter(filter, want, above, size, 0)
				if !Unfilter(filter, line, above, size) || !bytes.Equal(line, want) {
					t.Errorf("filter %d of %d pixels of %d bytes: differs", filter, pixels, size)
				}
			}
		}
	}
	if Unfilter(5, nil, nil, 3) {
		t.Error("there is no filter 5")
	}
}

// TestFilter compares both forms, with weights beyond one in sum, as rounding makes them.
func TestFilter(t *testing.T) {
	needAssembly(t)
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 9; n++ {
		for outputs := 1; outputs < 70; outputs += 7 {
			const in = 20
			f := Filter{N: n}
			for i := range outputs {
				f.First = append(f.First, int32(i*(in-n)/outputs))
				for range n {
					f.Weights = append(f.Weights, r.Int32N(3<<FractionBits/int32(n+1)))
				}
			}
			src := random(uint64(n), in*outputs*3+2)
			for extra := range 3 {
				got, want := make([]byte, 3*outputs+extra), make([]byte, 3*outputs)
				f.Row(got, src[:3*in+extra])
				f.row(want, src, 0)
				if !bytes.Equal(got[:3*outputs], want) {
					t.Errorf("a row of %d outputs of %d inputs: differs", outputs, n)
				}
			}
			got, want := make([]byte, 3*outputs), make([]byte, 3*outputs)
			for i := range outputs {
				f.Column(got, src, 0, i)
				weightedSum(want, src[int(f.First[i])*3*outputs:], f.Weights[i*n:][:n])
				if !bytes.Equal(got, want) {
					t.Errorf("column %d of %d values and %d lines: differs", i, 3*outputs, n)
				}
			}
		}
	}
}

// TestVP8 compares both forms of the transform and of every loop filter.
func TestVP8(t *testing.T) {
	needAssembly(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 2000 {
		const stride = 19
		got := random(uint64(round), 5*stride)
		want := bytes.Clone(got)
		var c [16]int16
		for i := range c {
			c[i] = int16(r.Uint32()) >> (round % 16)
		}
		x := round % stride
		InverseVP8(got[x:], stride, &c)
		inverseVP8(want[x:], stride, &c)
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: the transform differs", round)
		}
	}

	const stride, index = 40, 8*40 + 12
	for round := range 4000 {
		f := VP8Filter{Edge: r.IntN(200), Interior: r.IntN(64), HighVariance: r.IntN(4)}
		base := random(uint64(round), 2*20*stride)
		for i := range base { // from flat to noisy
			base[i] = byte(120 + (int(base[i])-128)>>(round%8))
		}
		for _, c := range []struct {
			name         string
			filter       func(a, b []byte, at, bt, stride int)
			across, down int
			inner        bool
		}{
			{"OuterRows", f.OuterRows, 1, stride, false}, {"InnerRows", f.InnerRows, 1, stride, true},
			{"OuterColumns", f.OuterColumns, stride, 1, false}, {"InnerColumns", f.InnerColumns, stride, 1, true},
		} {
			got, want := bytes.Clone(base), bytes.Clone(base)
			other := index + 20*stride
			c.filter(got, got, index, other, stride)
			f.filter(want, index, c.across, c.down, c.inner)
			f.filter(want, other, c.across, c.down, c.inner)
			if !bytes.Equal(got, want) {
				t.Fatalf("round %d: %s with %+v differs", round, c.name, f)
			}
		}
	}
}
