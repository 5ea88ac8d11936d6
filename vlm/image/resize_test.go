package image

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

func noise(w, h int) *RGB {
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	p := &RGB{W: w, H: h, Pix: make([]byte, 3*w*h)}
	for i := range p.Pix {
		p.Pix[i] = byte(r.Uint32())
	}
	return p
}

// slowAxis resizes n values to size along one axis, for each of lines lines. at returns the
// index of value i of a line.
func slowAxis(in []byte, n, size int, at func(i, line int) int, lines int) []byte {
	out := make([]byte, size*lines)
	scale := float64(n) / float64(size)
	stretch := math.Max(scale, 1)
	for i := range size {
		centre := (float64(i) + 0.5) * scale
		low, high := max(int(centre-stretch+0.5), 0), min(int(centre+stretch+0.5), n)
		total := 0.0
		weight := func(j int) float64 { return math.Max(0, 1-math.Abs((float64(j)-centre+0.5)*(1/stretch))) }
		for j := low; j < high; j++ {
			total += weight(j)
		}
		for line := range lines {
			sum := int64(1 << 21)
			for j := low; j < high; j++ {
				sum += int64(0.5+weight(j)/total*(1<<22)) * int64(in[at(j, line)])
			}
			out[i*lines+line] = byte(min(255, sum>>22))
		}
	}
	return out
}

// slowPreprocess resizes the whole image, then crops.
func slowPreprocess(p *RGB, size int) []byte {
	w, h := size, int(float64(size*p.H)/float64(p.W))
	if p.W > p.H {
		w, h = int(float64(size*p.W)/float64(p.H)), size
	}
	// [w, H*3], then [h, w*3]
	wide := slowAxis(p.Pix, p.W, w, func(x, line int) int { return (line/3*p.W+x)*3 + line%3 }, p.H*3)
	full := slowAxis(wide, p.H, h, func(y, line int) int { return line/3*p.H*3 + y*3 + line%3 }, w*3)
	left, top := int(math.RoundToEven(float64(w-size)/2)), int(math.RoundToEven(float64(h-size)/2))
	var out []byte
	for y := range size {
		out = append(out, full[((top+y)*w+left)*3:][:size*3]...)
	}
	return out
}

func TestPreprocess(t *testing.T) {
	for _, c := range [][3]int{
		{1, 1, 8}, {1, 9, 4}, {9, 1, 4}, {8, 8, 8}, {8, 9, 8}, {9, 8, 8}, {8, 11, 8}, {7, 5, 16}, {100, 37, 16},
		{37, 100, 16}, {61, 64, 1}, {301, 207, 64}, {64, 64, 63}, {63, 64, 64}, {2, 300, 8},
	} {
		p := noise(c[0], c[1])
		if got, want := Preprocess(p, c[2]), slowPreprocess(p, c[2]); !bytes.Equal(got, want) {
			t.Errorf("%dx%d to %d: differs from the slow resize", c[0], c[1], c[2])
		}
	}
}

func TestPreprocessNothing(t *testing.T) {
	if got := Preprocess(&RGB{}, 8); got != nil {
		t.Errorf("of no pixels: %d bytes", len(got))
	}
	if got := Preprocess(noise(3, 3), 0); got != nil {
		t.Errorf("to size 0: %d bytes", len(got))
	}
}

// Before the crop, the resized image would have 340,000 × 512 pixels.
func TestPreprocessExtremeAspect(t *testing.T) {
	for _, p := range []*RGB{noise(2000, 3), noise(3, 2000)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := Preprocess(p, 512)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; len(got) != 512*512*3 || used > 8<<20 {
			t.Errorf("%dx%d: %d bytes, allocated %d", p.W, p.H, len(got), used)
		}
	}
}

func BenchmarkPreprocess(b *testing.B) {
	for _, c := range [][3]int{{64, 64, 64}, {640, 480, 512}, {4000, 4000, 512}} {
		b.Run(fmt.Sprintf("%dx%d_to_%d", c[0], c[1], c[2]), func(b *testing.B) {
			p := noise(c[0], c[1])
			b.SetBytes(int64(len(p.Pix)))
			for b.Loop() {
				Preprocess(p, c[2])
			}
		})
	}
}
