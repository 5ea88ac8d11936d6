package nn

import (
	"fmt"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// FakeQuant makes matmuls and lookups read matrices rounded to block formats, those for which
// format's ok is true, for quantisation-aware training: gradients go to the master weights as if
// they had not been rounded (Bengio et al., "Estimating or propagating gradients through
// stochastic neurons for conditional computation", 2013). It is called after AddHalfCopy, and
// before the programs that read the matrices are recorded. A format must be one of
// shaders.FakeQuantFormats, and a row whole blocks of it.
func (s *Params) FakeQuant(format func(p *Param) (f quant.Format, ok bool)) error {
	for _, p := range s.inWeights() {
		f, ok := format(p)
		if !ok || !p.MatmulWeight {
			continue
		}
		if n, _ := f.Block(); p.Shape[len(p.Shape)-1]%n != 0 {
			return fmt.Errorf("%s: rows of %d values are not whole blocks of %v: %w", p.Name, p.Shape[len(p.Shape)-1], f, engine.ErrUnsupported)
		}
		p.rounded = &f
	}
	s.halfStale = true
	return nil
}

// roundCopies records the rounding of the matrices of FakeQuant for which only is true.
func (s *Params) roundCopies(only func(p *Param) bool, record func(k *shaders.Kernel, params any, views ...engine.View)) {
	for _, p := range s.inWeights() {
		if p.rounded != nil && only(p) {
			record(shaders.FakeQuant, shaders.FakeQuantParams{N: uint32(p.Count()), Format: uint32(*p.rounded)}, s.view(s.Weights, p), s.HalfView(p))
		}
	}
}
