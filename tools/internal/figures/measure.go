package figures

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// mosaic divides a square among n images in reading order.
func mosaic(at image.Point, side, n int) []image.Rectangle {
	across, gap := mosaicAcross(n), 0
	if n > 1 {
		gap = 2
	}
	var out []image.Rectangle
	for i := range n {
		x, y := i%across, i/across
		out = append(out, image.Rect(at.X+x*side/across, at.Y+y*side/across, at.X+(x+1)*side/across-gap, at.Y+(y+1)*side/across-gap))
	}
	return out
}

func mosaicAcross(n int) int { return int(math.Ceil(math.Sqrt(float64(n)))) }

// mosaicHeight is the part of the square's height that n images take.
func mosaicHeight(side, n int) int {
	across := mosaicAcross(n)
	return (n + across - 1) / across * side / across
}

// printable replaces control characters.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// cell is the rectangle of patch p of a grid.
func cell(r image.Rectangle, g chat.Grid, p int) image.Rectangle {
	row, column := p/g.Cols, p%g.Cols
	return image.Rect(r.Min.X+column*r.Dx()/g.Cols, r.Min.Y+row*r.Dy()/g.Rows, r.Min.X+(column+1)*r.Dx()/g.Cols, r.Min.Y+(row+1)*r.Dy()/g.Rows)
}

// squareGrid is a grid of n rows and columns.
func squareGrid(n int) chat.Grid { return chat.Grid{Rows: n, Cols: n} }

// fitted is the largest rectangle within one, in its middle, that has an image's aspect ratio.
func fitted(r image.Rectangle, img image.Image) image.Rectangle {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	switch {
	case w > h:
		h = max(1, r.Dy()*h/w)
		y := r.Min.Y + (r.Dy()-h)/2
		return image.Rect(r.Min.X, y, r.Max.X, y+h)
	case h > w:
		w = max(1, r.Dx()*w/h)
		x := r.Min.X + (r.Dx()-w)/2
		return image.Rect(x, r.Min.Y, x+w, r.Max.Y)
	}
	return r
}

// layerBands divides layers into at most maxMinis runs of neighbours [from,to).
func layerBands(layers int) (bands [][2]int) {
	n := min(layers, maxMinis)
	for i := range n {
		bands = append(bands, [2]int{i * layers / n, (i + 1) * layers / n})
	}
	return bands
}

// maxShare is the largest share of a patch.
func maxShare(l generate.AttentionMap) float64 { return slices.Max(l.Patches) }

// percent formats a share, below 10% with a decimal.
func percent(v float64) string {
	if v < 0.0995 {
		return fmt.Sprintf("%.1f%%", 100*v)
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

// count is "1 word" or "3 words".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// over blends a translucent colour over another.
func over(c color.Color, below color.RGBA) color.Color {
	r, g, b, a := c.RGBA()
	mix := func(v uint32, under uint8) uint8 { return uint8((v + uint32(under)*257*(0xffff-a)/0xffff) >> 8) }
	return color.RGBA{mix(r, below.R), mix(g, below.G), mix(b, below.B), 255}
}

// variedPatches are the patches with the largest variance of pixels, in reading order, and
// the one with the smallest.
func variedPatches(pixels []byte, grid chat.Grid, patch, limit int) []int {
	spread := make([]float64, grid.Tokens())
	order := make([]int, grid.Tokens())
	for p := range order {
		order[p] = p
		var sum, squares [3]float64
		for i := range patch * patch {
			at := 3 * ((p/grid.Cols*patch+i/patch)*grid.Cols*patch + p%grid.Cols*patch + i%patch)
			for c := range 3 {
				v := float64(pixels[at+c])
				sum[c] += v
				squares[c] += v * v
			}
		}
		for c := range 3 {
			spread[p] += squares[c] - sum[c]*sum[c]/float64(patch*patch)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(spread[b], spread[a]) })
	if len(order) > limit {
		order = append(order[:limit-1:limit-1], order[len(order)-1])
	}
	slices.Sort(order)
	return order
}

// thousands formats 3072 as "3,072".
func thousands(n int) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

// miniText is the height of the text under a small map: a line for a layer, two for a band
// of layers.
func miniText(layers int) int {
	if layers > maxMinis {
		return 2 * miniLine
	}
	return miniLine
}
