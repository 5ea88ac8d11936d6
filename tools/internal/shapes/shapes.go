// Package shapes draws the demo's data: small images of coloured shapes with questions and answers.
package shapes

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"

	"patchwork/vlm/data"
)

// Generator makes rows, none with the image of an earlier one. The same seed gives the same rows.
type Generator struct {
	rng  *rand.Rand
	seen map[[sha256.Size]byte]bool
}

// New returns a generator.
func New(seed uint64) *Generator {
	return &Generator{rand.New(rand.NewPCG(seed, 0)), map[[sha256.Size]byte]bool{}}
}

// WriteRows writes the next n rows.
func (g *Generator) WriteRows(w *data.Writer, n int) error {
	for range n {
		row, err := g.row()
		if err == nil {
			err = w.Write(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// row draws random scenes until an image is new; duplicates are rare.
func (g *Generator) row() (data.Row, error) {
	for range 100 {
		s := randomScene(g.rng)
		png, err := s.png()
		if err != nil {
			return data.Row{}, err
		}
		if hash := sha256.Sum256(png); !g.seen[hash] {
			g.seen[hash] = true
			return data.Row{Images: [][]byte{png}, Turns: s.questions(g.rng), Source: "shapesdata"}, nil
		}
	}
	return data.Row{}, errors.New("the generator repeats its images")
}
