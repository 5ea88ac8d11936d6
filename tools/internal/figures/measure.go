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

	"patchwork/vlm"
)

// mosaic divides a square among so many pictures, in reading order, rows of them
// without one left out.
func mosaic(at image.Point, side, pictures int) []image.Rectangle {
	across, gap := mosaicAcross(pictures), 0
	if pictures > 1 {
		gap = 2
	}
	var out []image.Rectangle
	for i := range pictures {
		x, y := i%across, i/across
		out = append(out, image.Rect(at.X+x*side/across, at.Y+y*side/across, at.X+(x+1)*side/across-gap, at.Y+(y+1)*side/across-gap))
	}
	return out
}

func mosaicAcross(pictures int) int { return int(math.Ceil(math.Sqrt(float64(pictures)))) }

// mosaicHeight is how much of the square's height they take.
func mosaicHeight(side, pictures int) int {
	across := mosaicAcross(pictures)
	return (pictures + across - 1) / across * side / across
}

// printable shows what is no letter as one sign.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// cell is where patch p of a grid lies in a rectangle.
func cell(r image.Rectangle, grid, p int) image.Rectangle {
	row, column := p/grid, p%grid
	return image.Rect(r.Min.X+column*r.Dx()/grid, r.Min.Y+row*r.Dy()/grid, r.Min.X+(column+1)*r.Dx()/grid, r.Min.Y+(row+1)*r.Dy()/grid)
}

// layerBands divides layers into at most mostMinis runs of neighbours [from,to).
func layerBands(layers int) (bands [][2]int) {
	n := min(layers, mostMinis)
	for i := range n {
		bands = append(bands, [2]int{i * layers / n, (i + 1) * layers / n})
	}
	return bands
}

// strongest is the largest share of a patch.
func strongest(l vlm.Look) float64 { return slices.Max(l.Patches) }

// percent writes a share with as many digits as it is worth.
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

// over is what a translucent colour gives over another.
func over(c color.Color, below color.RGBA) color.Color {
	r, g, b, a := c.RGBA()
	mix := func(v uint32, under uint8) uint8 { return uint8((v + uint32(under)*257*(0xffff-a)/0xffff) >> 8) }
	return color.RGBA{mix(r, below.R), mix(g, below.G), mix(b, below.B), 255}
}

// livelyPatches are the patches whose pixels differ most among themselves, in reading
// order, and one of those that differ least.
func livelyPatches(pixels []byte, side, patch, most int) []int {
	grid := side / patch
	spread := make([]float64, grid*grid)
	order := make([]int, grid*grid)
	for p := range order {
		order[p] = p
		var sum, squares [3]float64
		for i := range patch * patch {
			at := 3 * ((p/grid*patch+i/patch)*side + p%grid*patch + i%patch)
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
	if len(order) > most {
		order = append(order[:most-1:most-1], order[len(order)-1])
	}
	slices.Sort(order)
	return order
}

// thousands writes 3072 as "3,072".
func thousands(n int) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

// miniText is the height of what stands under the heat map of a layer, or of a band
// of layers, which needs two lines.
func miniText(layers int) int {
	if layers > mostMinis {
		return 2 * miniLine
	}
	return miniLine
}
