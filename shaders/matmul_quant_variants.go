package shaders

import "patchwork/shaders/quant"

// perFormat is a variant for each block format: its name ends with the format's.
func perFormat[P any](name string, variant func(f quant.Format) DeclVariant[P]) []DeclVariant[P] {
	var all []DeclVariant[P]
	for _, f := range quant.Formats {
		v := variant(f)
		v.Name = name + f.String()
		if name != "" {
			v.Name = name + "." + f.String()
		}
		v.Include = append([]string{"quant"}, v.Include...)
		switch f {
		case quant.Q5_0, quant.Q5_1:
			v.Include = append(v.Include, "quant_bits", "quant_rows")
		case quant.Q4_K, quant.Q5_K:
			v.Include = append(v.Include, "quant_k")
		case quant.Q8_0, quant.Q4_0, quant.Q4_1:
			v.Include = append(v.Include, "quant_rows")
		}
		v.Include = append(v.Include, "quant_"+f.String())
		all = append(all, v)
	}
	return all
}

// fewRows reports whether a call is bound by reading b: a variant computes each row of c by
// itself.
func (p MatMulQuantParams) fewRows(most uint32) bool {
	return p.M.Max <= most && p.TransB != 0 && p.LDA%4 == 0
}

// matmulQuantLane is for few rows on a software device.
func matmulQuantLane(f quant.Format) DeclVariant[MatMulQuantParams] {
	const group, cols = 8, 4
	return DeclVariant[MatMulQuantParams]{
		Source: "matmul_quant_lane", Include: []string{"matmul_quant"}, Group: group, Consts: map[string]uint32{"COLS": cols}, Vec4: []string{"a"}, F32Only: true, Unroll: 8,
		When: func(p MatMulQuantParams, c Class) bool {
			return c == Software && p.Format == uint32(f) && p.fewRows(2)
		},
		Passes: matmulQuantGrid(1, group*cols),
	}
}

// matmulQuantRows is for few rows on a GPU.
func matmulQuantRows(f quant.Format) DeclVariant[MatMulQuantParams] {
	return DeclVariant[MatMulQuantParams]{
		Source: "matmul_quant_row", Include: []string{"matmul_quant"}, Group: 64, Vec4: []string{"a"}, Unroll: 8,
		When: func(p MatMulQuantParams, c Class) bool {
			return c != Software && p.Format == uint32(f) && p.fewRows(8)
		},
		Passes: matmulQuantGrid(1, 16),
	}
}

// matmulQuantTile decodes tiles of b into the shared memory of a GPU's workgroups.
func matmulQuantTile(f quant.Format) DeclVariant[MatMulQuantParams] {
	return DeclVariant[MatMulQuantParams]{
		Source: "matmul_quant_tile", Group: 128, Unroll: 8,
		When:   func(p MatMulQuantParams, c Class) bool { return c != Software && p.Format == uint32(f) },
		Passes: matmulQuantGrid(64, 64),
	}
}

// matmulQuantBlocks computes 4 rows and 8 columns in an invocation, without shared memory.
func matmulQuantBlocks(f quant.Format) DeclVariant[MatMulQuantParams] {
	return DeclVariant[MatMulQuantParams]{
		Include: []string{"matmul_quant"},
		When:    func(p MatMulQuantParams, _ Class) bool { return p.Format == uint32(f) },
		Passes:  matmulQuantGrid(4, 64),
	}
}

// matmulQuantGrid is a workgroup for every tile of rows by cols of c.
func matmulQuantGrid(rows, cols int) []DeclPass[MatMulQuantParams] {
	return []DeclPass[MatMulQuantParams]{{Grid: func(p MatMulQuantParams) [3]uint32 {
		return gridGroups(chunksOf(p.M.Max, rows) * chunksOf(p.N, cols))
	}}}
}

// matmulQuantAxes divide a matmul along M and along the rows of b, as stored. The parts of
// a sum over K accumulate.
func matmulQuantAxes(p MatMulQuantParams) []Axis {
	m, f := p.M.Max, quant.Format(p.Format)
	rows, cols := alongRows(p.LDC), alongCols(m, p.LDC)
	along := Axis{p.N, map[string]Span{"b": {Stride: int64(f.Bytes(int(p.K)))}, "bias": alongCols(1, p.N), "residual": cols, "c": cols}, func(_, n uint32) any {
		part := p
		part.N = n
		return part
	}}
	if p.TransB == 0 {
		along = Axis{p.K, map[string]Span{"a": alongCols(m, p.LDA), "b": {Stride: int64(f.Bytes(int(p.N)))}}, func(first, n uint32) any {
			part := p
			part.K = n
			if first > 0 {
				part.Accumulate, part.Bias, part.Residual = 1, 0, 0
			}
			return part
		}}
	}
	return []Axis{{m, map[string]Span{"a": alongRows(p.LDA), "residual": rows, "c": rows}, func(first, n uint32) any {
		part := p
		part.M = p.M.Part(first, n)
		return part
	}}, along}
}

// embedQuantVariant has eight columns of a row in an invocation.
func embedQuantVariant(f quant.Format) DeclVariant[EmbedQuantParams] {
	return DeclVariant[EmbedQuantParams]{
		When: func(p EmbedQuantParams, _ Class) bool { return p.Format == uint32(f) },
		Passes: []DeclPass[EmbedQuantParams]{{Grid: func(p EmbedQuantParams) [3]uint32 {
			return grid1(int(p.Tokens.Max)*int(p.Cols)/8, 64)
		}}},
	}
}
