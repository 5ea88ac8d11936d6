package shapes

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"

	"golang.org/x/image/vector"
)

// side is the width and height of the images, that of the shapes preset.
const side = 64

// pairs is the fraction of images with two shapes.
const pairs = 0.5

// kinds are the shapes, named as in answers.
var kinds = []string{"circle", "square", "triangle"}

// paint is a named colour with its mean RGB value.
type paint struct {
	name    string
	r, g, b float64
}

var paints = []paint{
	{"red", 215, 40, 40},
	{"green", 50, 160, 60},
	{"blue", 45, 80, 215},
	{"yellow", 240, 200, 30},
	{"teal", 40, 175, 180},
	{"black", 30, 30, 35},
}

// shape is a shape of a scene.
type shape struct {
	kind   string
	paint  string
	fill   color.RGBA
	x, y   float64 // its centre in pixels
	radius float64 // of its circumscribed circle
	turn   float64 // radians
}

// scene is a tinted background with one or two shapes, from left to right. Two shapes
// differ in kind and in colour, so that either identifies one of them.
type scene struct {
	background color.RGBA
	shapes     []shape
}

func randomScene(rng *rand.Rand) scene {
	s := scene{background: pale(rng)}
	kind, colour := rng.Perm(len(kinds)), rng.Perm(len(paints))
	n := 1
	if rng.Float64() < pairs {
		n = 2
	}
	for i := range n {
		p := paints[colour[i]]
		sh := shape{kind: kinds[kind[i]], paint: p.name, fill: p.shade(rng)}
		sh.place(rng, i, n)
		s.shapes = append(s.shapes, sh)
	}
	return s
}

// pale is a random light colour for a background.
func pale(rng *rand.Rand) color.RGBA {
	v := func() uint8 { return uint8(222 + rng.IntN(34)) }
	return color.RGBA{v(), v(), v(), 255}
}

// shade varies a colour a little.
func (p paint) shade(rng *rand.Rand) color.RGBA {
	light := 1 + 0.1*(2*rng.Float64()-1)
	v := func(mean float64) uint8 {
		return uint8(math.Round(min(255, max(0, mean*light+8*(2*rng.Float64()-1)))))
	}
	return color.RGBA{v(p.r), v(p.g), v(p.b), 255}
}

// place gives the i-th of n shapes a size and a position in its column.
func (s *shape) place(rng *rand.Rand, i, n int) {
	between := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
	column := side / float64(n)
	s.radius = between(10, 15)
	if n == 1 {
		s.radius = between(10, 24)
	}
	s.x = column*float64(i) + between(s.radius+1, column-s.radius-1)
	s.y = between(s.radius+1, side-s.radius-1)
	s.turn = between(-0.15, 0.15)
}

// encoder compresses fast, since thousands of images are written.
var encoder = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &buffers{}}

// buffers keeps the encoder's memory between images.
type buffers struct{ kept *png.EncoderBuffer }

func (b *buffers) Get() *png.EncoderBuffer  { return b.kept }
func (b *buffers) Put(e *png.EncoderBuffer) { b.kept = e }

// png draws the scene.
func (s scene) png() ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(img, img.Bounds(), image.NewUniform(s.background), image.Point{}, draw.Src)
	for _, sh := range s.shapes {
		pen := vector.NewRasterizer(side, side)
		sh.outline(pen)
		pen.Draw(img, img.Bounds(), image.NewUniform(sh.fill), image.Point{})
	}
	var out bytes.Buffer
	err := encoder.Encode(&out, img)
	return out.Bytes(), err
}

// outline draws the shape's edge.
func (s shape) outline(pen *vector.Rasterizer) {
	switch s.kind {
	case "circle":
		s.circle(pen)
	case "square":
		s.polygon(pen, 4, math.Pi/4)
	case "triangle":
		s.polygon(pen, 3, 0)
	}
}

// polygon draws n corners, the first above the centre and turned by start.
func (s shape) polygon(pen *vector.Rasterizer, n int, start float64) {
	for i := range n {
		sin, cos := math.Sincos(start + s.turn + 2*math.Pi*float64(i)/float64(n))
		x, y := float32(s.x+s.radius*sin), float32(s.y-s.radius*cos)
		if i == 0 {
			pen.MoveTo(x, y)
		} else {
			pen.LineTo(x, y)
		}
	}
	pen.ClosePath()
}

// circle draws four cubic Bézier curves, whose middles the factor puts on the circle.
func (s shape) circle(pen *vector.Rasterizer) {
	const k = 4 * (math.Sqrt2 - 1) / 3
	x, y, r := float32(s.x), float32(s.y), float32(s.radius*0.9) // looks as large as the others
	c := float32(k) * r
	pen.MoveTo(x+r, y)
	pen.CubeTo(x+r, y+c, x+c, y+r, x, y+r)
	pen.CubeTo(x-c, y+r, x-r, y+c, x-r, y)
	pen.CubeTo(x-r, y-c, x-c, y-r, x, y-r)
	pen.CubeTo(x+c, y-r, x+r, y-c, x+r, y)
	pen.ClosePath()
}
