package figures

import (
	"image"
	"image/color"
	"math"
)

// ramp is a colour scale, linear between evenly spaced colours.
type ramp []color.RGBA

var (
	// heat is for shares: pale yellow to dark red, also readable in grey.
	heat = ramp{{255, 247, 214, 255}, {254, 217, 118, 255}, {253, 153, 66, 255}, {233, 62, 42, 255}, {139, 8, 42, 255}}
	// balance is for values from -1 to 1: blue, white, red.
	balance = ramp{{24, 82, 158, 255}, {120, 172, 214, 255}, {247, 247, 247, 255}, {238, 150, 112, 255}, {168, 20, 40, 255}}
)

// at is the colour at v in [0,1].
func (r ramp) at(v float64) color.RGBA {
	v = math.Min(1, math.Max(0, v)) * float64(len(r)-1)
	i := min(int(v), len(r)-2)
	part := v - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a)*(1-part) + float64(b)*part)) }
	return color.RGBA{mix(r[i].R, r[i+1].R), mix(r[i].G, r[i+1].G), mix(r[i].B, r[i+1].B), 255}
}

// bar draws a colour scale with its label and the values of its ends.
func (s *Sheet) bar(at image.Point, width int, label, low, high string, c func(v float64) color.Color) {
	x := s.Write(s.text, Soft, at.X, at.Y, label) + 14
	x = s.Write(s.text, Ink, x, at.Y, low) + 8
	for i := range width {
		s.fill(image.Rect(x+i, at.Y-12, x+i+1, at.Y+2), c(float64(i)/float64(width-1)))
	}
	s.frame(image.Rect(x, at.Y-12, x+width, at.Y+2), line)
	s.Write(s.text, Ink, x+width+8, at.Y, high)
}
