package main

import (
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// withQuantised adds to a preset's calls those on weights quantised to each block format:
// of its matmuls by a matrix whose rows are whole blocks, and of its embedding.
func withQuantised(dispatches []engine.Dispatch) []engine.Dispatch {
	all := slices.Clone(dispatches)
	for _, d := range dispatches {
		for _, f := range quant.Formats {
			if q, ok := quantised(d, f); ok {
				all = append(all, q)
			}
		}
	}
	return all
}

// quantised is the call with its weight in the format.
func quantised(d engine.Dispatch, f quant.Format) (engine.Dispatch, bool) {
	elements, _ := f.Block()
	var halves []string
	half := func(i int, name string) {
		if d.Storage.Bindings>>i&1 != 0 {
			halves = append(halves, name)
		}
	}
	switch p := d.Params.(type) {
	case shaders.MatMulParams:
		row := p.N
		if p.TransB != 0 {
			row = p.K.Max
		}
		if p.TransA != 0 || p.Batch != 1 || p.K.Slot != 0 || row%uint32(elements) != 0 {
			return d, false
		}
		d.Kernel = shaders.MatMulQuant
		d.Params = shaders.MatMulQuantParams{M: p.M, N: p.N, K: p.K.Max, Format: uint32(f), TransB: p.TransB, LDA: p.LDA, LDC: p.LDC}
		half(0, "a")
		half(4, "c")
	case shaders.EmbedParams:
		if p.Cols%uint32(elements) != 0 {
			return d, false
		}
		d.Kernel = shaders.EmbedQuant
		d.Params = shaders.EmbedQuantParams{Tokens: p.Tokens, Cols: p.Cols, Rows: p.Rows, First: p.First, Format: uint32(f), Scale: p.Scale}
		half(3, "features")
	default:
		return d, false
	}
	d.Storage = d.Kernel.Halves(d.Storage.Type, halves...)
	if len(halves) == 0 {
		d.Storage = shaders.Storage{}
	}
	return d, true
}
