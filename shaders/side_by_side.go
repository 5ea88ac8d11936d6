package shaders

// sideBySide says where pairs of gate and up lie: each in a tensor of its own, or both
// in the rows of one, the Cols gates of a row before its ups. Pairs are numbered as
// the elements of what is computed from them.
type sideBySide struct{ Cols int }

// places are the elements of pair i, the second in the tensor of the gates too where
// there are Cols.
func (s sideBySide) places(i int) (gate, up int) {
	if s.Cols == 0 {
		return i, i
	}
	gate = i + i/s.Cols*s.Cols
	return gate, gate + s.Cols
}

// pieces calls f for pairs [lo,hi), row by row, with their gates and ups.
func (s sideBySide) pieces(lo, hi int, gates, ups []float32, f func(lo, hi int, gate, up []float32)) {
	if s.Cols == 0 {
		f(lo, hi, gates[lo:hi], ups[lo:hi])
		return
	}
	for lo < hi {
		end := min(hi, (lo/s.Cols+1)*s.Cols)
		gate, up := s.places(lo)
		f(lo, end, gates[gate:][:end-lo], gates[up:][:end-lo])
		lo = end
	}
}

// upsOf are the ups where those of a tensor of gates are, or their own.
func (s sideBySide) upsOf(gates, ups []float64) []float64 {
	if s.Cols == 0 {
		return ups
	}
	return gates
}

// axes cut n pairs, between rows where there are rows. gates are the bindings that hold
// both where the others hold one of each.
func (s sideBySide) axes(n Count, gates, others []string, part func(n Count) any) []Axis {
	unit, spans := uint32(max(s.Cols, 1)), elementSpans(append(others, gates...)...)
	for name := range spans {
		spans[name] = Span{Stride: rowBytes(unit)}
	}
	if s.Cols != 0 {
		for _, name := range gates {
			spans[name] = Span{Stride: rowBytes(2 * unit)}
		}
	}
	return []Axis{{n.Max / unit, spans, func(first, count uint32) any { return part(n.Part(first*unit, count*unit)) }}}
}

// overPairs makes the cases of rows that hold gates and ups side by side.
func overPairs(c func(n Count, cols int) Case) []Case {
	var cases []Case
	for _, s := range [][2]int{{1, 1}, {3, 5}, {9, 64}, {70, 33}, {16, 66}, {2, 3072}} {
		cases = append(cases, c(N(s[0]*s[1]), s[1]).named("%dx2*%d", s[0], s[1]))
	}
	return append(cases, overCounts(300, func(n Count) Case { return c(n, 20) })...)
}
