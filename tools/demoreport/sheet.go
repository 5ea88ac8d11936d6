package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	xdraw "golang.org/x/image/draw"
)

// The sheet's measures in pixels.
const (
	columns  = 4
	tile     = 208 // a picture
	gap      = 28
	margin   = 36
	header   = 92
	lineH    = 20
	captionH = 3*lineH + 26 // a question of one or two lines and the answer
)

var (
	paper = color.RGBA{251, 250, 248, 255}
	ink   = color.RGBA{34, 38, 43, 255}
	soft  = color.RGBA{102, 112, 121, 255}
	right = color.RGBA{28, 125, 69, 255}
	wrong = color.RGBA{192, 57, 43, 255}
)

// sheet is a picture that text and marks are drawn on.
type sheet struct {
	*image.RGBA
	title, text, bold font.Face
}

// writeSheet draws the examples as one PNG.
func writeSheet(path string, r *report) error {
	rows := (len(r.Examples) + columns - 1) / columns
	s := sheet{RGBA: image.NewRGBA(image.Rect(0, 0, 2*margin+columns*tile+(columns-1)*gap, header+margin+rows*(tile+captionH)))}
	var err error
	for _, f := range []struct {
		face *font.Face
		ttf  []byte
		size float64
	}{{&s.title, gobold.TTF, 26}, {&s.text, goregular.TTF, 15}, {&s.bold, gobold.TTF, 16}} {
		if *f.face, err = newFace(f.ttf, f.size); err != nil {
			return err
		}
	}
	draw.Draw(s, s.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	s.write(s.title, ink, margin, 50, percent(r.All.Model)+" right about pictures it has never seen")
	s.write(s.text, soft, margin, 76, fmt.Sprintf("the most frequent answer to each question: %s  ·  %s parameters, trained from scratch in %s",
		percent(r.All.Baseline), thousands(r.Parameters), duration(r.Seconds)))
	for i, e := range r.Examples {
		at := image.Pt(margin+i%columns*(tile+gap), header+12+i/columns*(tile+captionH))
		if err := s.card(at, e); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, s.RGBA); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

func newFace(ttf []byte, size float64) (font.Face, error) {
	f, err := opentype.Parse(ttf)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
}

// card draws an example with its upper left corner at a point.
func (s *sheet) card(at image.Point, e example) error {
	picture, err := png.Decode(bytes.NewReader(e.Picture))
	if err != nil {
		return err
	}
	xdraw.CatmullRom.Scale(s, image.Rectangle{at, at.Add(image.Pt(tile, tile))}, picture, picture.Bounds(), draw.Src, nil)
	y := at.Y + tile + lineH + 2
	for _, line := range s.wrap(e.Question) {
		s.write(s.text, ink, at.X, y, line)
		y += lineH
	}
	y += 2
	if e.Match {
		s.mark(right, at.X, y, [][2]float32{{1, -6}, {3, -8}, {5.5, -5.5}, {11.5, -12}, {13.5, -10}, {5.5, -1.5}})
		s.write(s.bold, right, at.X+20, y, e.Answer)
		return nil
	}
	s.mark(wrong, at.X, y, [][2]float32{{1, -10}, {3, -12}, {7, -8}, {11, -12}, {13, -10}, {9, -6}, {13, -2}, {11, 0}, {7, -4}, {3, 0}, {1, -2}, {5, -6}})
	end := s.write(s.bold, wrong, at.X+20, y, e.Answer)
	s.write(s.text, soft, end+10, y, "truth: "+e.Truth)
	return nil
}

// wrap breaks a text into lines as wide as a picture.
func (s *sheet) wrap(text string) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && font.MeasureString(s.text, longer).Ceil() > tile {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	return append(lines, line)
}

// write puts text on a baseline and returns where it ends.
func (s *sheet) write(face font.Face, c color.Color, x, y int, text string) int {
	d := font.Drawer{Dst: s, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(text)
	return d.Dot.X.Round()
}

// mark fills a polygon given by its corners from a point.
func (s *sheet) mark(c color.Color, x, y int, corners [][2]float32) {
	pen := vector.NewRasterizer(s.Bounds().Dx(), s.Bounds().Dy())
	for i, p := range corners {
		if i == 0 {
			pen.MoveTo(float32(x)+p[0], float32(y)+p[1])
		} else {
			pen.LineTo(float32(x)+p[0], float32(y)+p[1])
		}
	}
	pen.ClosePath()
	pen.Draw(s, s.Bounds(), image.NewUniform(c), image.Point{})
}
