package figures

import (
	"fmt"
	"image"
	"image/color"

	"patchwork/vlm/chat"
)

const (
	cutSide   = 384 // side of the image
	zoomSide  = 116 // side of an enlarged patch
	zoomGap   = 22
	zoomLine  = 40
	zoomed    = 6
	zoomWide  = 3
	zoomStart = 48 // from the image to the patches
)

// markColors are the frames of the enlarged patches.
var markColors = []color.RGBA{{222, 72, 38, 255}, {30, 108, 190, 255}, {24, 140, 84, 255}, {148, 62, 170, 255}, {204, 136, 0, 255}, {66, 82, 98, 255}}

// Patches draws an image's grid of patches, and enlarges the patches with most detail; they are
// numbered in reading order from 0. pixels is [rows of pixels, columns, 3].
func Patches(path string, pixels []byte, grid chat.Grid, patch int) error {
	s, err := NewSheet(2*margin+cutSide+zoomStart+zoomWide*zoomSide+(zoomWide-1)*zoomGap, margin+56+cutSide+margin)
	if err != nil {
		return err
	}
	s.Write(s.title, Ink, margin, margin+14, fmt.Sprintf("An image is %d patches of %d×%d pixels", grid.Tokens(), patch, patch))
	s.Write(s.text, Soft, margin, margin+36, fmt.Sprintf("each one token: %d×%d×3 = %s numbers between 0 and 1, read row by row", patch, patch, thousands(3*patch*patch)))
	img := Pixels(pixels, grid.Cols*patch)
	area := image.Rect(margin, margin+56, margin+cutSide, margin+56+cutSide)
	frame := fitted(area, img)
	s.drawImage(frame, img)
	s.grid(frame, grid)
	for i, p := range variedPatches(pixels, grid, patch, zoomed) {
		for w := range 3 {
			s.frame(cell(frame, grid, p).Inset(w-1), markColors[i])
		}
		at := image.Pt(area.Max.X+zoomStart+i%zoomWide*(zoomSide+zoomGap), area.Min.Y+i/zoomWide*(zoomSide+zoomLine+36))
		r := image.Rectangle{at, at.Add(image.Pt(zoomSide, zoomSide))}
		part := img.(*image.RGBA).SubImage(cell(img.Bounds(), grid, p))
		s.drawImage(r, part)
		for w := range 3 {
			s.frame(r.Inset(w-1), markColors[i])
		}
		s.Write(s.bold, Ink, at.X, at.Y+zoomSide+21, fmt.Sprintf("patch %d", p))
		s.Write(s.small, Soft, at.X, at.Y+zoomSide+38, fmt.Sprintf("row %d, column %d", p/grid.Cols, p%grid.Cols))
	}
	return s.Save(path)
}

// grid draws a grid's inner lines.
func (s *Sheet) grid(r image.Rectangle, g chat.Grid) {
	for k := 1; k < g.Cols; k++ {
		x := r.Min.X + k*r.Dx()/g.Cols
		s.fill(image.Rect(x, r.Min.Y, x+1, r.Max.Y), color.NRGBA{0, 0, 0, 40})
	}
	for k := 1; k < g.Rows; k++ {
		y := r.Min.Y + k*r.Dy()/g.Rows
		s.fill(image.Rect(r.Min.X, y, r.Max.X, y+1), color.NRGBA{0, 0, 0, 40})
	}
	s.frame(r, line)
}
