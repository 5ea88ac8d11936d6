package figures

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

const (
	filterSide = 84
	filterGap  = 16
	filterWide = 8
	filterRows = 1
)

// Filters draws the principal components of the first linear layer's filters, [D] of
// 3·patch·patch weights each in channel, row and column order, as colours around grey.
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
	s.Write(s.title, Ink, margin, margin+14, "What the first layer responds to in a patch")
	s.Write(s.text, Soft, margin, margin+36, fmt.Sprintf("the principal components of its %d filters of %d×%d×3 weights, and their share of the filters' energy", len(filters), patch, patch))
	for i, part := range parts {
		at := image.Pt(margin+i%filterWide*(filterSide+filterGap), margin+56+i/filterWide*(filterSide+34))
		r := image.Rectangle{at, at.Add(image.Pt(filterSide, filterSide))}
		s.drawImage(r, pattern(part, patch))
		s.frame(r, line)
		s.center(s.small, Soft, at.X+filterSide/2, at.Y+filterSide+16, percent(shares[i]))
	}
	return s.Save(path)
}

// pattern is a filter as an image: the largest weight is full colour, 0 is grey.
func pattern(filter []float64, patch int) image.Image {
	peak, n := 0.0, patch*patch
	for _, v := range filter {
		peak = math.Max(peak, math.Abs(v))
	}
	img := image.NewRGBA(image.Rect(0, 0, patch, patch))
	for i := range n {
		level := func(channel int) uint8 {
			return uint8(math.Round(127.5 + 127.5*filter[channel*n+i]/math.Max(peak, 1e-12)))
		}
		img.SetRGBA(i%patch, i/patch, color.RGBA{level(0), level(1), level(2), 255})
	}
	return img
}

// Subspace iteration of principal. More directions than are drawn speed up convergence,
// whose rate is the ratio of the energies of the first dropped and the last drawn one.
const (
	blockDirections = 32
	blockSteps      = 20
)

// principal returns the first principal components of filters and their shares of the
// sum of squares of all weights. It is subspace iteration with a final Rayleigh-Ritz step;
// a full decomposition takes minutes for the 2048 filters of a large model.
func principal(filters [][]float32, limit int) (parts [][]float64, shares []float64, err error) {
	n, width := len(filters), len(filters[0])
	a := mat.NewDense(n, width, nil)
	for i, f := range filters {
		for j, v := range f {
			a.Set(i, j, float64(v))
		}
	}
	energy := math.Pow(mat.Norm(a, 2), 2)
	if math.IsNaN(energy) || math.IsInf(energy, 0) {
		return nil, nil, errors.New("the first layer's filters are not all finite: the model is damaged")
	}
	random := rand.New(rand.NewPCG(1, 2))
	directions := mat.NewDense(width, min(blockDirections, n, width), nil)
	directions.Apply(func(_, _ int, _ float64) float64 { return random.NormFloat64() }, directions)
	var projected mat.Dense
	for range blockSteps {
		orthogonalise(directions)
		projected.Mul(a, directions)
		directions.Mul(a.T(), &projected)
	}
	orthogonalise(directions)
	projected.Mul(a, directions)
	var gram mat.SymDense
	gram.SymOuterK(1, projected.T())
	var eigen mat.EigenSym
	if !eigen.Factorize(&gram, true) {
		return nil, nil, errors.New("the first layer's filters have no principal components")
	}
	values := eigen.Values(nil) // ascending
	var rotation, components mat.Dense
	eigen.VectorsTo(&rotation)
	components.Mul(directions, &rotation)
	for i := len(values) - 1; i >= 0 && len(parts) < limit && values[i] > 1e-9*energy; i-- {
		parts = append(parts, mat.Col(nil, i, &components))
		shares = append(shares, values[i]/energy)
	}
	return parts, shares, nil
}

// orthogonalise makes a matrix's columns orthonormal, or 0 where they depend on earlier
// ones: Gram-Schmidt, twice.
func orthogonalise(m *mat.Dense) {
	rows, columns := m.Dims()
	for j := range columns {
		v := mat.VecDenseCopyOf(m.ColView(j))
		start := mat.Norm(v, 2)
		for range 2 {
			for i := range j {
				before := m.ColView(i)
				v.AddScaledVec(v, -mat.Dot(before, v), before)
			}
		}
		if length := mat.Norm(v, 2); length > 1e-10*start {
			v.ScaleVec(1/length, v)
		} else {
			v = mat.NewVecDense(rows, nil)
		}
		m.SetCol(j, v.RawVector().Data)
	}
}
