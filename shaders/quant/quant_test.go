package quant_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"patchwork/internal/require"
	"patchwork/shaders/quant"
)

// normals are n values of the size of weights.
func normals(n int) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64() / 20)
	}
	return x
}

// TestRoundTrip encodes values, decodes them and compares the relative error with the
// format's: what its steps over the values' range give, and what llama.cpp's search for
// scales reaches on the same distribution.
func TestRoundTrip(t *testing.T) {
	limit := map[quant.Format]float64{
		quant.Q8_0: 0.0055, quant.Q4_0: 0.095, quant.Q4_1: 0.082, quant.Q5_0: 0.047, quant.Q5_1: 0.04,
		quant.Q4_K: 0.077, quant.Q5_K: 0.038, quant.Q6_K: 0.0195,
	}
	for _, f := range quant.Formats {
		x := normals(1 << 14)
		data := make([]byte, f.Bytes(len(x)))
		f.Encode(data, x)
		got := make([]float32, len(x))
		f.Decode(got, data)
		var off, all float64
		for i := range x {
			off += math.Pow(float64(got[i]-x[i]), 2)
			all += math.Pow(float64(x[i]), 2)
		}
		if e := math.Sqrt(off / all); !(e < limit[f]) {
			t.Errorf("%v: relative error %.4f, want below %g", f, e, limit[f])
		} else {
			t.Logf("%v: relative error %.4f", f, e)
		}
	}
}

// TestSpecialBlocks: blocks of equal values, and of one value among zeros, are exact but for
// the rounding of the scales to F16 and 6 bits.
func TestSpecialBlocks(t *testing.T) {
	constant := func(v float32) []float32 {
		x := make([]float32, 256)
		for i := range x {
			x[i] = v
		}
		return x
	}
	one := constant(0)
	one[77] = -0.5
	for _, f := range quant.Formats {
		for name, x := range map[string][]float32{"zeros": constant(0), "ones": constant(1), "minus ones": constant(-1), "one value": one} {
			data, got := make([]byte, f.Bytes(256)), make([]float32, 256)
			f.Encode(data, x)
			f.Decode(got, data)
			for i := range x {
				if d := math.Abs(float64(got[i] - x[i])); !(d <= 1e-3) {
					t.Errorf("%v of %s: [%d] is %g, want %g", f, name, i, got[i], x[i])
					break
				}
			}
		}
	}
}

// TestAgainstLlamaCpp compares blocks, bit by bit, with those of llama.cpp's Python package
// (testdata/make_blocks.py).
func TestAgainstLlamaCpp(t *testing.T) {
	text, err := os.ReadFile("testdata/encoded.json")
	require.NoError(t, err)
	var rows []struct {
		Type, Blocks string
		Floats       []float32
	}
	require.NoError(t, json.Unmarshal(text, &rows))
	for _, r := range rows {
		f, ok := quant.Parse(r.Type)
		if !ok {
			t.Fatalf("unknown format %s", r.Type)
		}
		want, err := hex.DecodeString(r.Blocks)
		require.NoError(t, err)
		got := make([]byte, len(want))
		f.Encode(got, r.Floats)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", r.Type, got, want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	x := normals(1 << 14)
	for _, f := range quant.Formats {
		data := make([]byte, f.Bytes(len(x)))
		b.Run(f.String(), func(b *testing.B) {
			b.SetBytes(4 * int64(len(x)))
			for b.Loop() {
				f.Encode(data, x)
			}
		})
	}
}
