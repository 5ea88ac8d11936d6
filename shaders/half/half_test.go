package half

import (
	"math"
	"testing"
)

// exactF16 is binary16's definition: sign, 5 bits of exponent, 10 of fraction.
func exactF16(bits uint16) float64 {
	sign, exponent, fraction := 1-2*float64(bits>>15), int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

func equal(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestEveryF16(t *testing.T) {
	for bits := range 1 << 16 {
		x := Table()[bits]
		if want := exactF16(uint16(bits)); !equal(float64(x), want) {
			t.Fatalf("F16 %04x is %g, want %g", bits, x, want)
		}
		if back := ToF16(x); back != uint16(bits) && x == x {
			t.Fatalf("%g is written as F16 %04x, want %04x", x, back, bits)
		}
	}
}

func TestEveryBF16(t *testing.T) {
	for bits := range 1 << 16 {
		x := FromBF16(uint16(bits))
		if back := ToBF16(x); back != uint16(bits) && x == x {
			t.Fatalf("%g is written as BF16 %04x, want %04x", x, back, bits)
		}
	}
}

func TestRounding(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		x         float32
		f16, bf16 uint16
	}{
		{1, 0x3C00, 0x3F80},
		{1 + 1.0/2048, 0x3C00, 0x3F80},       // F16: half way, to even
		{1 + 3.0/2048, 0x3C02, 0x3F80},       // F16: half way, to even
		{1 + 1.0/256, 0x3C04, 0x3F80},        // BF16: half way, to even
		{1 + 3.0/256, 0x3C0C, 0x3F82},        // BF16: half way, to even
		{1 + 1.0/256 + 1e-6, 0x3C04, 0x3F81}, // BF16: just above
		{70000, 0x7C00, 0x4789},              // beyond F16
		{-1e-8, 0x8000, 0xB22C},              // below F16's smallest
		{math.MaxFloat32, 0x7C00, 0x7F80},
	} {
		if f, b := ToF16(c.x), ToBF16(c.x); f != c.f16 || b != c.bf16 {
			t.Errorf("%g: F16 %04x and BF16 %04x, want %04x and %04x", c.x, f, b, c.f16, c.bf16)
		}
	}
	if x := FromBF16(ToBF16(nan)); x == x {
		t.Error("BF16 loses a NaN")
	}
	if x := Table()[ToF16(nan)]; x == x {
		t.Error("F16 loses a NaN")
	}
}
