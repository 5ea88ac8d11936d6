package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"golang.org/x/image/font"
	"golang.org/x/image/vector"

	xdraw "golang.org/x/image/draw"

	"patchwork/tools/internal/figures"
)

// The sheet's measures in pixels.
const (
	columns  = 4
	tile     = 208 // an image
	gap      = 28
	margin   = 36
	header   = 92
	lineH    = 20
	captionH = 3*lineH + 26 // a question of one or two lines and the answer
)

var (
	right = color.RGBA{28, 125, 69, 255}
	wrong = color.RGBA{192, 57, 43, 255}
)

// sheet draws the answers.
type sheet struct {
	*figures.Sheet
	title, text, bold font.Face
}

// writeSheet draws the examples as one PNG.
func writeSheet(path string, r *report) error {
	rows := (len(r.Examples) + columns - 1) / columns
	paper, err := figures.NewSheet(2*margin+columns*tile+(columns-1)*gap, header+margin+rows*(tile+captionH))
	if err != nil {
		return err
	}
	s := sheet{Sheet: paper}
	for _, f := range []struct {
		face *font.Face
		bold bool
		size float64
	}{{&s.title, true, 26}, {&s.text, false, 15}, {&s.bold, true, 16}} {
		if *f.face, err = figures.Face(f.bold, f.size); err != nil {
			return err
		}
	}
	s.Write(s.title, figures.Ink, margin, 50, percent(r.All.Model)+" correct about unseen images")
	s.Write(s.text, figures.Soft, margin, 76, fmt.Sprintf("the most frequent answer to each question: %s  ·  %s parameters, trained from scratch in %s",
		percent(r.All.Baseline), thousands(r.Parameters), duration(r.Seconds)))
	for i, e := range r.Examples {
		at := image.Pt(margin+i%columns*(tile+gap), header+12+i/columns*(tile+captionH))
		if err := s.card(at, e); err != nil {
			return err
		}
	}
	return s.Save(path)
}

// card draws an example with its upper left corner at a point.
func (s *sheet) card(at image.Point, e example) error {
	img, err := png.Decode(bytes.NewReader(e.Image))
	if err != nil {
		return err
	}
	xdraw.CatmullRom.Scale(s, image.Rectangle{at, at.Add(image.Pt(tile, tile))}, img, img.Bounds(), draw.Src, nil)
	y := at.Y + tile + lineH + 2
	for _, line := range figures.Wrap(s.text, e.Question, tile, 3) {
		s.Write(s.text, figures.Ink, at.X, y, line)
		y += lineH
	}
	y += 2
	if e.Match {
		s.mark(right, at.X, y, [][2]float32{{1, -6}, {3, -8}, {5.5, -5.5}, {11.5, -12}, {13.5, -10}, {5.5, -1.5}})
		s.Write(s.bold, right, at.X+20, y, e.Answer)
		return nil
	}
	s.mark(wrong, at.X, y, [][2]float32{{1, -10}, {3, -12}, {7, -8}, {11, -12}, {13, -10}, {9, -6}, {13, -2}, {11, 0}, {7, -4}, {3, 0}, {1, -2}, {5, -6}})
	end := s.Write(s.bold, wrong, at.X+20, y, e.Answer)
	s.Write(s.text, figures.Soft, end+10, y, "truth: "+e.Truth)
	return nil
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
