package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
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

// TestPrepare compares Prepare with Preprocess of Decode, for every form and orientation.
func TestPrepare(t *testing.T) {
	forms := readForms(t)
	for orientation := 1; orientation <= 8; orientation++ {
		data := jpegWithExif(jpegBytes(t, quarters(40, 30)), exifBlock(binary.LittleEndian, orientation))
		forms = append(forms, form{Name: fmt.Sprintf("orientation %d", orientation), File: data})
	}
	for _, f := range forms {
		img := mustDecode(t, f.File)
		for _, size := range []int{0, 1, 7, 32} {
			pix, w, h, err := Prepare(f.File, size)
			if err != nil || w != img.W || h != img.H || !bytes.Equal(pix, Preprocess(img, size)) || (pix == nil) != (size == 0) {
				t.Errorf("%s to %d: %d bytes of %dx%d, %v; differs from Preprocess of Decode", f.Name, size, len(pix), w, h, err)
			}
		}
	}
	if pix, w, h, err := Prepare([]byte("GIF89a"), 8); pix != nil || w != 0 || h != 0 || err == nil {
		t.Errorf("of a broken file: %d bytes of %dx%d, %v", len(pix), w, h, err)
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

// photo is an image of soft noise at several scales, which compresses like a photograph.
func photo(w, h int) *image.RGBA {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for cell := 128; cell > 0; cell /= 2 {
		across := w/cell + 2
		grid := make([]float64, across*(h/cell+2)*3)
		for i := range grid {
			grid[i] = (r.Float64() - 0.5) * 8 * math.Sqrt(float64(cell))
		}
		for y := range h {
			for x := range w {
				fx, fy := float64(x%cell)/float64(cell), float64(y%cell)/float64(cell)
				corner := grid[3*(y/cell*across+x/cell):]
				for k := range 3 {
					top := corner[k] + fx*(corner[3+k]-corner[k])
					bottom := corner[3*across+k] + fx*(corner[3*across+3+k]-corner[3*across+k])
					p := &m.Pix[m.PixOffset(x, y)+k]
					*p = byte(max(0, min(255, float64(*p)+top+fy*(bottom-top))))
				}
				m.Pix[m.PixOffset(x, y)+3] = 255
			}
			if cell == 128 { // the mean
				for x := range w {
					for k := range 3 {
						m.Pix[m.PixOffset(x, y)+k] += 110
					}
				}
			}
		}
	}
	return m
}

// BenchmarkPrepare decodes, resizes and crops, on one core. tools/imagepeer compares with
// Pillow.
func BenchmarkPrepare(b *testing.B) {
	for _, size := range [][2]int{{640, 480}, {2000, 1500}} {
		m := photo(size[0], size[1])
		for _, f := range []struct {
			name string
			data []byte
		}{
			{"jpeg", encodeWith(b, func(w *bytes.Buffer) error { return jpeg.Encode(w, m, &jpeg.Options{Quality: 90}) })},
			{"png", pngBytes(b, m)},
		} {
			for _, to := range []int{256, 512} {
				b.Run(fmt.Sprintf("%s/%dx%d_to_%d", f.name, size[0], size[1], to), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, _, _, err := Prepare(f.data, to); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
					b.ReportMetric(float64(len(f.data))/1024, "KiB")
				})
			}
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
