// Package figures draws a model: its attention, its patches, its position embeddings and
// its filters.
package figures

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	xdraw "golang.org/x/image/draw"

	"patchwork/internal/durable"
)

// Colours of background and text.
var (
	Paper = color.RGBA{251, 250, 248, 255}
	Ink   = color.RGBA{34, 38, 43, 255}
	Soft  = color.RGBA{102, 112, 121, 255}
	line  = color.RGBA{214, 214, 210, 255}
)

const margin = 32

// typefaces are the Go fonts in the sizes that figures use.
type typefaces struct{ title, bold, text, small font.Face }

func newTypefaces() (t typefaces, err error) {
	for _, f := range []struct {
		face *font.Face
		bold bool
		size float64
	}{{&t.title, true, 22}, {&t.bold, true, 16}, {&t.text, false, 14}, {&t.small, false, 12}} {
		if *f.face, err = Face(f.bold, f.size); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Face is the Go font at a size in pixels. It is not safe for concurrent use.
func Face(bold bool, size float64) (font.Face, error) {
	ttf := goregular.TTF
	if bold {
		ttf = gobold.TTF
	}
	f, err := opentype.Parse(ttf)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
}

// Sheet is an image to draw text and images on.
type Sheet struct {
	*image.RGBA
	typefaces
}

// NewSheet is an empty sheet with a size in pixels.
func NewSheet(width, height int) (*Sheet, error) {
	f, err := newTypefaces()
	if err != nil {
		return nil, err
	}
	s := &Sheet{image.NewRGBA(image.Rect(0, 0, width, height)), f}
	s.fill(s.Bounds(), Paper)
	return s, nil
}

func (s *Sheet) fill(r image.Rectangle, c color.Color) {
	draw.Draw(s, r, image.NewUniform(c), image.Point{}, draw.Over)
}

// frame draws a rectangle's edge, one pixel wide, inside it.
func (s *Sheet) frame(r image.Rectangle, c color.Color) {
	for _, edge := range []image.Rectangle{
		{r.Min, image.Pt(r.Max.X, r.Min.Y+1)}, {image.Pt(r.Min.X, r.Max.Y-1), r.Max},
		{r.Min, image.Pt(r.Min.X+1, r.Max.Y)}, {image.Pt(r.Max.X-1, r.Min.Y), r.Max},
	} {
		s.fill(edge, c)
	}
}

// drawImage scales an image into a rectangle; an enlarged one keeps its pixels.
func (s *Sheet) drawImage(r image.Rectangle, img image.Image) {
	scaler := xdraw.Scaler(xdraw.CatmullRom)
	if r.Dx() >= img.Bounds().Dx() {
		scaler = xdraw.NearestNeighbor
	}
	scaler.Scale(s, r, img, img.Bounds(), draw.Src, nil)
}

// Write draws text on a baseline and returns its end.
func (s *Sheet) Write(face font.Face, c color.Color, x, y int, text string) int {
	d := font.Drawer{Dst: s, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(text)
	return d.Dot.X.Round()
}

// center draws text on a baseline, centred at x.
func (s *Sheet) center(face font.Face, c color.Color, x, y int, text string) {
	s.Write(face, c, x-font.MeasureString(face, text).Round()/2, y, text)
}

// Wrap breaks a text into at most limit lines of a width; a truncated text ends with "…".
func Wrap(face font.Face, text string, width, limit int) []string {
	var lines []string
	current := ""
	for word := range strings.FieldsSeq(text) {
		longer := strings.TrimSpace(current + " " + word)
		if current != "" && font.MeasureString(face, longer).Ceil() > width {
			lines = append(lines, current)
			longer = word
		}
		current = longer
	}
	lines = append(lines, current)
	if len(lines) > limit {
		lines = lines[:limit]
		lines[limit-1] += " …"
	}
	for i := range lines {
		lines[i] = shorten(face, lines[i], width)
	}
	return lines
}

// shorten truncates a text that is wider than width.
func shorten(face font.Face, text string, width int) string {
	if font.MeasureString(face, text).Ceil() <= width {
		return text
	}
	letters := []rune(text)
	for len(letters) > 1 && font.MeasureString(face, string(letters)+"…").Ceil() > width {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}

// Save writes the sheet as a PNG.
func (s *Sheet) Save(path string) error {
	var out bytes.Buffer
	if err := png.Encode(&out, s.RGBA); err != nil {
		return err
	}
	return durable.Replace(path, out.Bytes())
}

// Pixels is a model's input [rows, width, 3] as an image.
func Pixels(pixels []byte, width int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, len(pixels)/3/width))
	for i := range len(pixels) / 3 {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255
	}
	return img
}
