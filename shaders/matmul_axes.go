package shaders

// matmulAxes divide a matmul along its batch or, for a single matrix, along M, N and K. A
// part along columns keeps the leading dimension. The parts of a sum over K accumulate.
func matmulAxes(p MatMulParams) []Axis {
	if p.Batch > 1 {
		return []Axis{{p.Batch, map[string]Span{
			"a": {Stride: 4 * int64(p.StrideA)}, "b": {Stride: 4 * int64(p.StrideB)},
			"residual": {Stride: 4 * int64(p.StrideC)}, "c": {Stride: 4 * int64(p.StrideC)},
		}, func(_, n uint32) any { p.Batch = n; return p }}}
	}
	m, n, k := p.M.Max, p.N, p.K.Max
	rows, cols := alongRows(p.LDC), alongCols(m, p.LDC)
	aRows, aCols := alongRows(p.LDA), alongCols(m, p.LDA)
	if p.TransA != 0 {
		aRows, aCols = alongCols(k, p.LDA), alongRows(p.LDA)
	}
	bRows, bCols := alongRows(p.LDB), alongCols(k, p.LDB)
	if p.TransB != 0 {
		bRows, bCols = alongCols(n, p.LDB), alongRows(p.LDB)
	}
	return []Axis{
		{m, map[string]Span{"a": aRows, "residual": rows, "c": rows}, func(first, n uint32) any {
			part := p
			part.M = p.M.Part(first, n)
			return part
		}},
		{n, map[string]Span{"b": bCols, "bias": alongCols(1, n), "residual": cols, "c": cols}, func(_, n uint32) any {
			part := p
			part.N = n
			return part
		}},
		{k, map[string]Span{"a": aCols, "b": bRows}, func(first, n uint32) any {
			part := p
			part.K = p.K.Part(first, n)
			if first > 0 {
				part.Beta, part.Bias, part.Residual = 1, 0, 0
			}
			return part
		}},
	}
}

// alongRows is the span of a matrix's rows with leading dimension ld.
func alongRows(ld uint32) Span { return Span{Stride: 4 * int64(ld)} }

// alongCols is the span of the columns of a matrix with this number of rows.
func alongCols(rows, ld uint32) Span {
	return Span{Stride: 4, Tail: 4 * int64(max(rows, 1)-1) * int64(ld)}
}
