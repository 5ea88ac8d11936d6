package eightbit

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// forms are the two moments' forms.
var forms = []struct {
	name   string
	encode func(codes []byte, x []float32) float32
	decode func(x []float32, codes []byte, scale float32)
	skip   byte // a code that encode never writes
	signed bool
}{
	{"first", EncodeFirst, DecodeFirst, 128, true},
	{"second", EncodeSecond, DecodeSecond, 0, false}, // of a positive value
}

// TestDecodedEncodes: the values of all codes encode to the same codes and scale, at any scale, so
// that a checkpoint restores the same bits.
func TestDecodedEncodes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	scales := []float32{Smallest, 1, math.MaxFloat32}
	for range 5000 {
		scales = append(scales, float32(math.Exp2(-86+214*random.Float64())))
	}
	for _, f := range forms {
		codes := make([]byte, Block)
		for i := range codes {
			if codes[i] = byte(i); codes[i] == f.skip {
				codes[i]--
			}
		}
		for _, scale := range scales {
			x, again := make([]float32, Block), make([]byte, Block)
			f.decode(x, codes, scale)
			if got := f.encode(again, x); got != scale || !bytes.Equal(again, codes) {
				t.Fatalf("%s moments: the values of scale %g encode to scale %g and codes %v", f.name, scale, got, again)
			}
		}
	}
}

// TestEncode: a decoded value is the closest of all codes' values, measured at its root, and a second
// moment above 0 stays above 0.
func TestEncode(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, f := range forms {
		x, y, codes := make([]float32, 200), make([]float32, 200), make([]byte, 200)
		for i := range x {
			if x[i] = float32(math.Exp(4 * random.NormFloat64())); f.signed && i%2 == 0 {
				x[i] = -x[i]
			}
		}
		x[7], x[8] = 0, 1e-20
		scale := f.encode(codes, x)
		f.decode(y, codes, scale)
		root := func(v float32) float64 {
			share := math.Abs(float64(v)) / float64(scale)
			if f.signed {
				return math.Copysign(127*math.Sqrt(share), float64(v))
			}
			return 255 * math.Sqrt(math.Sqrt(share))
		}
		for i := range x {
			limit := 0.5001 // a rounding
			if !f.signed && x[i] > 0 {
				limit = max(limit, 1-root(x[i]))
			}
			if d := math.Abs(root(x[i]) - root(y[i])); d > limit || !f.signed && (y[i] == 0) != (x[i] == 0) {
				t.Errorf("%s moments: %g becomes %g of scale %g", f.name, x[i], y[i], scale)
			}
		}
	}
}

// TestEncodeSpecial: blocks of zeros and of values too small to matter have scale 0, and a value that
// is not finite is found again.
func TestEncodeSpecial(t *testing.T) {
	for _, f := range forms {
		codes, x := bytes.Repeat([]byte{77}, 4), []float32{0, 0, Smallest / 2, 0}
		if scale := f.encode(codes, x); scale != 0 || !bytes.Equal(codes, make([]byte, 4)) {
			t.Errorf("%s moments: tiny values have scale %g and codes %v", f.name, scale, codes)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			x[1] = float32(bad)
			scale := f.encode(codes, x)
			f.decode(x, codes, scale)
			if x[1] == x[1] {
				t.Errorf("%s moments: %g becomes %g", f.name, bad, x[1])
			}
			x[2], x[3] = 1, 2
		}
	}
}
