package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestVectors compares every loop in use, in assembly where the processor has
// it, with its Go form, over lengths around whole vectors.
func TestVectors(t *testing.T) {
	for _, l := range []struct {
		name     string
		got      any
		want     any
		positive []int // arguments that must be ≥ 0
	}{
		{"add", add, addGo, nil}, {"scale", scale, scaleGo, nil}, {"largest", largest, largestGo, nil},
		{"dot", dot, dotGo, nil}, {"sumSquares", sumSquares, sumSquaresGo, nil},
		{"expSum", expSum, expSumGo, nil}, {"expDot", expDot, expDotGo, nil}, {"mulDiff", mulDiff, mulDiffGo, nil},
		{"swiglu", swiglu, swigluGo, nil}, {"swigluGradient", swigluGradient, swigluGradientGo, nil},
		{"swigluGradientAdd", swigluGradientAdd, swigluGradientAddGo, nil},
		{"rmsNorm", rmsNorm, rmsNormGo, nil}, {"rmsNormSums", rmsNormSums, rmsNormSumsGo, nil},
		{"rmsNormGradient", rmsNormGradient, rmsNormGradientGo, nil}, {"rmsNormGradientAdd", rmsNormGradientAdd, rmsNormGradientAddGo, nil},
		{"rotate", rotate, rotateGo, nil}, {"rotateAdd", rotateAdd, rotateAddGo, nil},
		{"adamW", adamW, adamWGo, []int{2, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		for _, n := range []int{0, 1, 7, 8, 9, 16, 31, 96, 257} {
			t.Run(fmt.Sprintf("%s/%d", l.name, n), func(t *testing.T) { compare(t, l.got, l.want, n, l.positive) })
		}
	}
}

// compare calls both functions with the same random arguments, slices of n
// elements with a guard behind them.
func compare(t *testing.T, got, want any, n int, positive []int) {
	a, b := arguments(got, n, positive), arguments(want, n, positive)
	x, y := reflect.ValueOf(got).Call(a), reflect.ValueOf(want).Call(b)
	for i := range a {
		if a[i].Kind() != reflect.Slice {
			continue
		}
		near(t, fmt.Sprintf("argument %d", i), whole(a[i]), whole(b[i]), 1)
	}
	if len(x) > 0 {
		near(t, "result", []float32{x[0].Interface().(float32)}, []float32{y[0].Interface().(float32)}, float64(max(n, 1)))
	}
}

const guard = 8

func whole(v reflect.Value) []float32 {
	s := v.Interface().([]float32)
	return s[:len(s)+guard]
}

func arguments(f any, n int, positive []int) []reflect.Value {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	value := func(i int) float32 {
		x := float32(2 * random.NormFloat64())
		if slices.Contains(positive, i) {
			return float32(math.Abs(float64(x)))
		}
		return x
	}
	var in []reflect.Value
	for i := range reflect.TypeOf(f).NumIn() {
		if reflect.TypeOf(f).In(i).Kind() != reflect.Slice {
			in = append(in, reflect.ValueOf(value(i)))
			continue
		}
		s := make([]float32, n+guard)
		for j := range s {
			s[j] = value(i)
		}
		in = append(in, reflect.ValueOf(s[:n]))
	}
	return in
}

// near allows the two roundings of a multiply-add and 2 units of the
// exponential, and for sums as many roundings as there are terms.
func near(t *testing.T, what string, got, want []float32, terms float64) {
	t.Helper()
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if g == w {
			continue
		}
		if tolerance := 1e-5*math.Abs(w) + 4e-6*math.Sqrt(terms); !(math.Abs(g-w) <= tolerance) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, g, w)
		}
	}
}

// TestExp checks the vector exponential at its edges.
func TestExp(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1, -1, -87.2, -87.4, -200, -inf, 88, 89, inf, nan, 0.3}
	y := make([]float32, len(x))
	expSum(y, x, 0)
	for i := range x {
		want := math.Exp(float64(x[i]))
		if x[i] < -87.3 {
			want = 0
		}
		switch got := float64(y[i]); {
		case math.IsNaN(want) && math.IsNaN(got), want > math.MaxFloat32 && math.IsInf(got, 1), got == want:
		case math.Abs(got-want) > 2.5e-7*want:
			t.Errorf("exp(%g) = %g, want %g", x[i], got, want)
		}
	}
	if y[0] != 1 {
		t.Errorf("exp(0) = %g: attention to one key needs exactly 1", y[0])
	}
}

// TestTranspose transposes ragged sizes.
func TestTranspose(t *testing.T) {
	for _, s := range [][2]int{{1, 1}, {3, 9}, {4, 4}, {8, 8}, {12, 32}, {13, 37}, {32, 5}} {
		rows, cols := s[0], s[1]
		lds, ldd := cols+3, rows+2
		src, dst := make([]float32, rows*lds), make([]float32, cols*ldd)
		for i := range src {
			src[i] = float32(i + 1)
		}
		Transpose(dst, ldd, src, lds, rows, cols)
		for j := range cols {
			for i := range ldd {
				want := float32(0)
				if i < rows {
					want = src[i*lds+j]
				}
				if dst[j*ldd+i] != want {
					t.Fatalf("%v: dst[%d,%d] = %g, want %g", s, j, i, dst[j*ldd+i], want)
				}
			}
		}
	}
}
