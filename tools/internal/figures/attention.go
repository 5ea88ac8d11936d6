package figures

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

const (
	tile     = 256 // side of a word's heat map
	tileGap  = 28
	columns  = 4
	miniGap  = 8
	miniLine = 18 // height of a line of text under a small map
	maxMinis = 8  // small heat maps of layers under a word
	cardText = 74
)

// Colours of the parts of a word's attention in its bar.
var shareColors = []color.RGBA{{233, 98, 42, 255}, {96, 125, 156, 255}, {178, 190, 201, 255}}

// Input is the model's input.
type Input struct {
	Prompt string
	Images []image.Image // resized, as the model reads them
}

// Attention draws the attention on the images for each word of an answer.
func Attention(path string, q Input, e generate.Explanation) error {
	cards := 1 + len(e.Words)
	across := min(cards, columns)
	width := 2*margin + across*tile + (across-1)*tileGap
	f, err := newTypefaces()
	if err != nil {
		return err
	}
	question := Wrap(f.title, q.Prompt, width-2*margin, 2)
	note := Wrap(f.text, fmt.Sprintf("Attention at the step that predicted each word of the answer, mean of %s and %s. "+
		"It shows which tokens the prediction attended to, not what the answer depends on.", count(e.Heads, "head"), count(e.Layers, "layer")), width-2*margin, 4)
	bands := layerBands(e.Layers)
	minis := min(len(bands), 4)
	miniSide := (tile - (minis-1)*miniGap) / minis
	h, mini := mosaicHeight(tile, len(e.Grids)), mosaicHeight(miniSide, len(e.Grids))
	card := h + cardText + (len(bands)+3)/4*(mini+miniText(e.Layers)) + tileGap
	top := margin + 26*len(question) + 20*len(note) + 14
	rows := (cards + columns - 1) / columns
	s, err := NewSheet(width, top+rows*card+42)
	if err != nil {
		return err
	}
	y := margin + 14
	for _, l := range question {
		s.Write(s.title, Ink, margin, y, l)
		y += 26
	}
	for _, l := range note {
		s.Write(s.text, Soft, margin, y, l)
		y += 20
	}
	scale := 0.0
	for _, w := range e.Words {
		scale = max(scale, maxShare(w.Mean))
	}
	for i := range cards {
		at := image.Pt(margin+i%columns*(tile+tileGap), top+i/columns*card)
		if i == 0 {
			s.input(at, q, e.Grids)
			continue
		}
		s.word(at, q, e, e.Words[i-1], scale, bands, miniSide)
	}
	s.legend(image.Pt(margin, top+rows*card-16), scale, e)
	return s.Save(path)
}

// input draws the images and their grid.
func (s *Sheet) input(at image.Point, q Input, grids []chat.Grid) {
	h := mosaicHeight(tile, len(q.Images))
	for i, r := range mosaic(at, tile, len(q.Images)) {
		r = fitted(r, q.Images[i])
		s.drawImage(r, q.Images[i])
		s.grid(r, grids[i])
	}
	s.Write(s.bold, Ink, at.X, at.Y+h+24, "model input")
	size, grid := q.Images[0].Bounds(), grids[0]
	patch := size.Dx() / grid.Cols
	text := fmt.Sprintf("%d×%d pixels in %d×%d patches of %d×%d", size.Dx(), size.Dy(), grid.Cols, grid.Rows, patch, patch)
	if slices.ContainsFunc(grids, func(g chat.Grid) bool { return g != grid }) {
		text = fmt.Sprintf("in patches of %d×%d pixels", patch, patch)
	}
	s.Write(s.small, Soft, at.X, at.Y+h+44, text)
}

// word draws one word's heat map, the bar of its shares, and its layers.
func (s *Sheet) word(at image.Point, q Input, e generate.Explanation, w generate.ExplainedWord, scale float64, bands [][2]int, miniSide int) {
	h, mini := mosaicHeight(tile, len(q.Images)), mosaicHeight(miniSide, len(q.Images))
	s.heat(at, tile, q, e.Grids, w.Mean, scale)
	s.Write(s.bold, Ink, at.X, at.Y+h+24, shorten(s.bold, strings.Map(printable, w.Text), tile))
	x := float64(at.X)
	for i, share := range []float64{w.Mean.ImageShare(), w.Mean.Prompt, w.Mean.Answer} {
		next := x + share*tile
		s.fill(image.Rect(int(math.Round(x)), at.Y+h+34, int(math.Round(next)), at.Y+h+42), shareColors[i])
		x = next
	}
	s.Write(s.small, Soft, at.X, at.Y+h+59, fmt.Sprintf("%s on the image; by layer, own scales:", percent(w.Mean.ImageShare())))
	for i, band := range bands {
		p := image.Pt(at.X+i%4*(miniSide+miniGap), at.Y+h+cardText-6+i/4*(mini+miniText(e.Layers)))
		attention := generate.MeanAttention(w.Layers[band[0]:band[1]])
		s.heat(p, miniSide, q, e.Grids, attention, maxShare(attention))
		middle, share := p.X+miniSide/2, percent(attention.ImageShare())
		if e.Layers <= maxMinis {
			s.center(s.small, Soft, middle, p.Y+mini+14, fmt.Sprintf("%d: %s", band[0]+1, share))
			continue
		}
		s.center(s.small, Soft, middle, p.Y+mini+14, fmt.Sprintf("%d–%d", band[0]+1, band[1]))
		s.center(s.small, Soft, middle, p.Y+mini+28, share)
	}
}

// heat draws an attention map over the faded images, which share a square.
func (s *Sheet) heat(at image.Point, side int, q Input, grids []chat.Grid, attention generate.AttentionMap, scale float64) {
	shares := attention.Patches
	for i, r := range mosaic(at, side, len(q.Images)) {
		r = fitted(r, q.Images[i])
		s.drawImage(r, q.Images[i])
		s.fade(r)
		for p, share := range shares[:grids[i].Tokens()] {
			s.fill(cell(r, grids[i], p), heatOver(share/max(scale, 1e-12)))
		}
		shares = shares[grids[i].Tokens():]
		s.frame(r, line)
	}
}

// heatOver is the heat scale's colour; its opacity grows with the value.
func heatOver(v float64) color.Color {
	c := heat.at(v)
	return color.NRGBA{c.R, c.G, c.B, uint8(40 + 190*math.Sqrt(math.Min(1, v)))}
}

// fade makes a part of the sheet light grey, so that colours over it are readable.
func (s *Sheet) fade(r image.Rectangle) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			grey := 255 - (255-int(color.GrayModel.Convert(s.At(x, y)).(color.Gray).Y))/2
			s.SetRGBA(x, y, color.RGBA{uint8(grey), uint8(grey), uint8(grey), 255})
		}
	}
}

// legend explains the colours.
func (s *Sheet) legend(at image.Point, scale float64, e generate.Explanation) {
	s.bar(at.Add(image.Pt(0, 12)), 120, "one patch's share", "0", percent(scale), func(v float64) color.Color { return over(heatOver(v), color.RGBA{230, 230, 230, 255}) })
	x := at.X
	for i, name := range []string{"image", "prompt", "answer so far"} {
		s.fill(image.Rect(x, at.Y+28, x+12, at.Y+40), shareColors[i])
		x = s.Write(s.text, Soft, x+18, at.Y+39, name) + 18
	}
	if e.Omitted > 0 {
		s.Write(s.text, Ink, x+6, at.Y+39, fmt.Sprintf("… and %s, not shown", count(e.Omitted, "more word")))
	}
}
