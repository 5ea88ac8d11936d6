package figures

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

const (
	maxMaps   = 8   // small maps along a side
	mapSide   = 56  // side of a small map, approximately
	mapGap    = 7   //
	tableSide = 200 // side of the table of rows and of columns
	tableGap  = 56
)

// Positions draws the similarity of a model's position embeddings, given as the vectors of
// rows and columns [Grid][D]: for each position a small map of its cosine similarity with
// all others, and tables of the rows and of the columns.
func Positions(path string, rows, columns [][]float32) error {
	grid := len(rows)
	shown := evenly(grid, maxMaps)
	mapSide := max(1, mapSide/grid) * grid // cells of whole pixels
	maps := len(shown)*mapSide + (len(shown)-1)*mapGap
	height := max(maps, 2*tableSide+tableGap)
	s, err := NewSheet(2*margin+maps+tableGap+tableSide+24, margin+66+height+64)
	if err != nil {
		return err
	}
	top := margin + 66
	s.Write(s.title, Ink, margin, margin+14, "Similarity of the position embeddings")
	s.Write(s.text, Soft, margin, margin+38, fmt.Sprintf("left: for each of the %d×%d positions (outlined) a map of all, y_pos_emb[row] + x_pos_emb[column]", grid, grid))
	similar := Similarity(sums(rows, columns))
	for i, row := range shown {
		for j, column := range shown {
			at := image.Pt(margin+j*(mapSide+mapGap), top+i*(mapSide+mapGap))
			r := image.Rectangle{at, at.Add(image.Pt(mapSide, mapSide))}
			own := row*grid + column
			for p, v := range similar[own] {
				s.fill(cell(r, squareGrid(grid), p), balance.at((v+1)/2))
			}
			s.frame(cell(r, squareGrid(grid), own), Ink)
		}
	}
	x := margin + maps + tableGap
	for i, t := range []struct {
		name    string
		vectors [][]float32
	}{{"rows", rows}, {"columns", columns}} {
		at := image.Pt(x, top+i*(tableSide+tableGap))
		s.table(at, t.name, Similarity(t.vectors))
	}
	s.bar(image.Pt(margin, top+height+40), 160, "cosine similarity", "−1", "1", func(v float64) color.Color { return balance.at(v) })
	return s.Save(path)
}

// table draws the similarity of n vectors with each other.
func (s *Sheet) table(at image.Point, name string, similar [][]float64) {
	n := len(similar)
	r := image.Rectangle{at, at.Add(image.Pt(tableSide, tableSide))}
	for i, row := range similar {
		for j, v := range row {
			s.fill(cell(r, squareGrid(n), i*n+j), balance.at((v+1)/2))
		}
	}
	s.frame(r, line)
	for _, k := range evenly(n, maxMaps) {
		middle := (2*k + 1) * tableSide / (2 * n)
		s.center(s.small, Soft, at.X+middle, at.Y+tableSide+15, fmt.Sprint(k))
		s.center(s.small, Soft, at.X-10, at.Y+middle+4, fmt.Sprint(k))
	}
	s.center(s.text, Ink, at.X+tableSide/2, at.Y+tableSide+34, name)
}

// sums are the vectors of all positions in reading order.
func sums(rows, columns [][]float32) [][]float32 {
	var out [][]float32
	for _, y := range rows {
		for _, x := range columns {
			v := make([]float32, len(y))
			for i := range v {
				v[i] = y[i] + x[i]
			}
			out = append(out, v)
		}
	}
	return out
}

// Similarity is the cosine of each pair of vectors, 0 where one of them is zero.
func Similarity(vectors [][]float32) [][]float64 {
	out := make([][]float64, len(vectors))
	for i, a := range vectors {
		out[i] = make([]float64, len(vectors))
		for j, b := range vectors {
			if lengths := math.Sqrt(dot(a, a) * dot(b, b)); lengths > 0 {
				out[i][j] = dot(a, b) / lengths
			}
		}
	}
	return out
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// evenly chooses at most limit of n numbers, evenly spaced from 0.
func evenly(n, limit int) (chosen []int) {
	for i := range min(n, limit) {
		chosen = append(chosen, i*n/min(n, limit))
	}
	return chosen
}
