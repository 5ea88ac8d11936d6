package packing

// Ignore is the target of tokens without a loss.
const Ignore = -100

// segment is tokens [lo, hi) of a row, which attend causally to each other and to the
// prefix [prefixLo, prefixHi). position is the position of the first token.
type segment struct {
	lo, hi, prefixLo, prefixHi, position int
}

// row is one row of a batch: T values each, and 4T intervals.
type row struct {
	ids, images, frames, positions, intervals, targets []int32
	lossMask                                           []bool
}

// segments returns the segments of a sample that starts at token at of a row.
func (s *Sample) segments(at int) []segment {
	if len(s.TurnStarts) == 0 {
		return []segment{{lo: at, hi: at + s.Len()}}
	}
	shared := s.TurnStarts[0]
	var out []segment
	if shared > 0 {
		out = append(out, segment{lo: at, hi: at + shared})
	}
	for i, lo := range s.TurnStarts {
		hi := s.Len()
		if i+1 < len(s.TurnStarts) {
			hi = s.TurnStarts[i+1]
		}
		out = append(out, segment{at + lo, at + hi, at, at + shared, shared})
	}
	return out
}

// layout fills a row whose tokens are the segments, in order and without gaps. The rest
// of the row is padding without keys and targets.
func (r row) layout(segments []segment, m Modes) {
	for t := range r.targets {
		r.targets[t], r.positions[t] = Ignore, 0
	}
	clear(r.intervals)
	for _, s := range segments {
		r.document(s, m)
	}
	if m.Attention == Causal {
		r.causal(segments, m)
	}
}

// document lays out one segment on its own. No token predicts its first token.
func (r row) document(s segment, m Modes) {
	seen := s.hi // end of the keys that a token attends to
	for t := s.hi - 1; t >= s.lo; t-- {
		inImage := t+1 < s.hi && r.images[t] >= 0 && r.images[t] == r.images[t+1]
		if m.Attention != DocumentBidirectionalImage || !inImage {
			seen = t + 1
		}
		r.positions[t] = int32(s.position + t - s.lo)
		copy(r.intervals[4*t:], []int32{int32(s.prefixLo), int32(s.prefixHi), int32(s.lo), int32(seen)})
		if t+1 < s.hi {
			r.targets[t] = r.label(t+1, m)
		}
	}
}

// causal lays out the whole row as one sequence.
func (r row) causal(segments []segment, m Modes) {
	for t := range r.positions {
		r.positions[t] = int32(t)
	}
	for _, s := range segments {
		for t := s.lo; t < s.hi; t++ {
			copy(r.intervals[4*t:], []int32{0, 0, 0, int32(t + 1)})
			if t > 0 {
				r.targets[t-1] = r.label(t, m)
			}
		}
	}
}

// label returns the id of token t, or Ignore if it is not to be predicted.
func (r row) label(t int, m Modes) int32 {
	if r.images[t] >= 0 || r.frames[t] >= 0 || m.Loss == OnAnswers && !r.lossMask[t] {
		return Ignore
	}
	return r.ids[t]
}
