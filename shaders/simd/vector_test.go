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
		{"gelu", gelu, geluGo, nil}, {"geluGradient", geluGradient, geluGradientGo, nil}, {"geluGradientAdd", geluGradientAdd, geluGradientAddGo, nil},
		{"masked", masked, maskedGo, nil},
		{"softmaxGradient", softmaxGradient, softmaxGradientGo, nil}, {"softmaxGradientAdd", softmaxGradientAdd, softmaxGradientAddGo, nil},
		{"sumDiff", sumDiff, sumDiffGo, nil}, {"sumSquaresDiff", sumSquaresDiff, sumSquaresDiffGo, nil},
		{"layerNorm", layerNorm, layerNormGo, nil}, {"layerNormSums", layerNormSums, layerNormSumsGo, nil}, {"layerNormDot", layerNormDot, layerNormDotGo, nil},
		{"layerNormGradient", layerNormGradient, layerNormGradientGo, nil}, {"layerNormGradientAdd", layerNormGradientAdd, layerNormGradientAddGo, nil},
		{"adamW", adamW, adamWGo, []int{2, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		for _, n := range []int{0, 1, 7, 8, 9, 16, 31, 96, 257} {
			t.Run(fmt.Sprintf("%s/%d", l.name, n), func(t *testing.T) { compare(t, l.got, l.want, n, l.positive) })
		}
	}
}

// compare calls both functions with the same random arguments, slices of n elements
// followed by a guard.
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

// TestGELU checks the vector GELU and its slope at their edges.
func TestGELU(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1, -1, 20, -20, 1e4, -1e4, 1e20, -1e20, 3e38, -3e38, inf, nan}
	ones, y, dx := slices.Repeat([]float32{1}, len(x)), make([]float32, len(x)), make([]float32, len(x))
	GELU(y, x)
	GELUGradient(dx, x, ones, false)
	for i, v := range x {
		wantY, wantSlope := v*Sigmoid(geluInner(v)), geluSlope(v)
		switch {
		case v >= 20:
			wantY, wantSlope = v, 1
		case v <= -20:
			wantY, wantSlope = 0, 0
		}
		if v == inf { // infinity times 0
			wantSlope = nan
		}
		if !close32(y[i], wantY) || !close32(dx[i], wantSlope) {
			t.Errorf("gelu(%g) = %g with slope %g, want %g and %g", v, y[i], dx[i], wantY, wantSlope)
		}
	}
}

func close32(a, b float32) bool {
	return a == b || a != a && b != b || math.Abs(float64(a-b)) <= 1e-6*max(1, math.Abs(float64(b)))
}

// TestSoftmax checks a row's softmax under masks of every kind, over lengths around
// whole vectors.
func TestSoftmax(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 3))
	for n := range 40 {
		for _, density := range []float64{0, 0.3, 1} {
			x, mask, y := make([]float32, n), make([]int32, n), make([]float32, n)
			most, sum := math.Inf(-1), 0.0
			for i := range x {
				x[i] = float32(5 * random.NormFloat64())
				if random.Float64() < density {
					mask[i] = int32(1 << random.IntN(31))
					most = math.Max(most, float64(x[i]))
				} else if random.IntN(2) == 0 {
					x[i] = float32(math.NaN()) // masked
				}
			}
			Softmax(y, x, mask)
			for i := range x {
				if mask[i] != 0 {
					sum += math.Exp(float64(x[i]) - most)
				}
			}
			for i := range x {
				want := 0.0
				if mask[i] != 0 {
					want = math.Exp(float64(x[i])-most) / sum
				}
				if math.Abs(float64(y[i])-want) > 3e-6*want { // the rounding of an argument of 20
					t.Fatalf("%d of density %g: element %d is %g, want %g", n, density, i, y[i], want)
				}
			}
		}
	}
}

// TestMoments checks the mean and the variance where single precision is not enough.
func TestMoments(t *testing.T) {
	for _, c := range []struct{ mean, spread float64 }{{0, 1}, {1000, 1}, {0, 1e30}, {-3e38, 0}, {math.Inf(1), 1}, {math.NaN(), 1}} {
		random := rand.New(rand.NewPCG(5, 6))
		x := make([]float32, 3001)
		for i := range x {
			x[i] = float32(c.mean + c.spread*random.NormFloat64())
		}
		mean, variance := Moments(x)
		wantMean, wantVariance := momentsDouble(x)
		if d := math.Abs(mean - wantMean); mean != wantMean && !math.IsNaN(wantMean) && !(d <= 1e-6*math.Abs(wantMean)+1e-6*c.spread) {
			t.Errorf("%+v: mean %g, want %g", c, mean, wantMean)
		}
		if d := math.Abs(variance - wantVariance); math.IsNaN(variance) != math.IsNaN(wantVariance) || d > 1e-5*wantVariance {
			t.Errorf("%+v: variance %g, want %g", c, variance, wantVariance)
		}
	}
}

// TestMax checks the largest of numbers below 0, at every place.
func TestMax(t *testing.T) {
	for n := range 40 {
		x := make([]float32, n)
		for i := range x {
			x[i] = -10 - float32(i)
		}
		want := float32(math.Inf(-1))
		for i := range x {
			x[i], want = -2, -2
			if got := Max(x); got != want {
				t.Errorf("of %d numbers, -2 at %d: %g", n, i, got)
			}
			x[i] = -10
		}
		if n == 0 && Max(x) != want {
			t.Errorf("of none: %g", Max(x))
		}
	}
}

// TestFMA compares multiply-adds in registers with single ones, over lengths around the blocks.
func TestFMA(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 96, 192, 300} {
		for _, times := range []int{0, 1, 2, 7} {
			x, want := make([]float32, n+1), make([]float32, n+1)
			for i := range x {
				x[i] = float32(i)
				want[i] = x[i]
				for range times {
					if i < n {
						want[i] = fused(want[i], -0.5, 1.5)
					}
				}
			}
			FMA(x[:n], -0.5, 1.5, times)
			same(t, fmt.Sprintf("%d values, %d times", n, times), x, want)
		}
	}
}
