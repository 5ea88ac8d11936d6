package figures

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	filterSide = 84
	filterGap  = 16
	filterWide = 8
	filterRows = 1
)

// Filters draws the principal components of a first linear layer's filters, [D] of
// 3·patch·patch weights each in channel, row and column order: the patterns that the
// vector of a patch tells apart most, as colours around grey.
func Filters(path string, filters [][]float32, patch int) error {
	parts, shares, err := principal(filters, filterWide*filterRows)
	if err != nil {
		return err
	}
	lines := (len(parts) + filterWide - 1) / filterWide
	s, err := NewSheet(2*margin+filterWide*filterSide+(filterWide-1)*filterGap, margin+56+lines*(filterSide+34)+margin-10)
	if err != nil {
		return err
	}
	s.Write(s.title, Ink, margin, margin+14, "What the first layer looks for in a patch")
	s.Write(s.text, Soft, margin, margin+36, fmt.Sprintf("the principal components of its %d filters of %d×%d×3 weights, and their share of the filters' energy", len(filters), patch, patch))
	for i, part := range parts {
		at := image.Pt(margin+i%filterWide*(filterSide+filterGap), margin+56+i/filterWide*(filterSide+34))
		r := image.Rectangle{at, at.Add(image.Pt(filterSide, filterSide))}
		s.picture(r, pattern(part, patch))
		s.frame(r, line)
		s.center(s.small, Soft, at.X+filterSide/2, at.Y+filterSide+16, percent(shares[i]))
	}
	return s.Save(path)
}

// pattern is a filter as a picture: its largest weight is full colour, 0 grey.
func pattern(filter []float64, patch int) image.Image {
	most, n := 0.0, patch*patch
	for _, v := range filter {
		most = math.Max(most, math.Abs(v))
	}
	img := image.NewRGBA(image.Rect(0, 0, patch, patch))
	for i := range n {
		level := func(channel int) uint8 {
			return uint8(math.Round(127.5 + 127.5*filter[channel*n+i]/math.Max(most, 1e-12)))
		}
		img.SetRGBA(i%patch, i/patch, color.RGBA{level(0), level(1), level(2), 255})
	}
	return img
}

// principal returns the most important directions of filters, and which part of the
// sum of squares of all weights lies in each. It decomposes the product of the
// filters with themselves, which is small where they are few.
func principal(filters [][]float32, most int) (parts [][]float64, shares []float64, err error) {
	n, width := len(filters), len(filters[0])
	a := mat.NewDense(n, width, nil)
	for i, f := range filters {
		for j, v := range f {
			a.Set(i, j, float64(v))
		}
	}
	var gram mat.SymDense
	gram.SymOuterK(1, a)
	var eigen mat.EigenSym
	if !eigen.Factorize(&gram, true) {
		return nil, nil, fmt.Errorf("the first layer's filters have no principal components: are all its weights finite?")
	}
	values := eigen.Values(nil) // ascending
	var vectors, directions mat.Dense
	eigen.VectorsTo(&vectors)
	directions.Mul(vectors.T(), a)
	total := mat.Trace(&gram)
	for i := n - 1; i >= 0 && len(parts) < most && values[i] > 1e-9*total; i-- {
		parts = append(parts, mat.Row(nil, i, &directions))
		shares = append(shares, values[i]/total)
	}
	return parts, shares, nil
}
