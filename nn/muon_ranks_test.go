package nn

import (
	"fmt"
	"testing"
)

// TestChunksOfMuon: chunks and segments of Muon's matrices consist of whole ones, those of AdamW are
// even, and together they are all parameters once, for any number of ranks.
func TestChunksOfMuon(t *testing.T) {
	s := NewParams()
	add := func(name string, muon bool, rows int) {
		s.Add(&Param{Name: name, Shape: []int{rows, 64}, Group: "a", Decay: true, MatmulWeight: true, Muon: muon})
	}
	add("plain", false, 500)
	for i, rows := range []int{96, 96, 96, 1000, 10, 10, 256, 96} {
		add(fmt.Sprint("matrix ", i), true, rows)
	}
	add("head", false, 300)
	s.Seal()
	for _, bytes := range []int64{1 << 10, 1 << 16, 1 << 20} {
		for _, ranks := range []int{1, 2, 3, 16} {
			var at int64
			updated := map[*Param]int{}
			for _, c := range s.Chunks(bytes, ranks) {
				if c.Offset != at || c.Bytes == 0 {
					t.Fatalf("%d bytes, %d ranks: a chunk of %d bytes begins at %d, want %d", bytes, ranks, c.Bytes, c.Offset, at)
				}
				at += c.Bytes
				end := c.Offset
				for rank := range ranks {
					r := c.Segment(rank)
					if r.Offset != end || r.Bytes < 0 {
						t.Fatalf("%d bytes, rank %d of %d: a segment of %d bytes begins at %d, want %d", bytes, rank, ranks, r.Bytes, r.Offset, end)
					}
					end += r.Bytes
					if !r.Muon {
						if even := c.Bytes / int64(ranks); r.Bytes < even-paramAlignment || r.Bytes > even+int64(ranks+1)*paramAlignment {
							t.Errorf("rank %d of %d has %d of %d bytes", rank, ranks, r.Bytes, c.Bytes)
						}
						continue
					}
					var whole int64
					for _, p := range r.Params {
						updated[p]++
						whole += s.alignedBytes(p)
					}
					if whole != r.Bytes {
						t.Errorf("%d bytes, rank %d of %d: a segment of %d bytes has matrices of %d", bytes, rank, ranks, r.Bytes, whole)
					}
				}
				if end != at {
					t.Errorf("the segments end at %d, the chunk at %d", end, at)
				}
			}
			if at != s.Weights.Bytes || len(updated) != 8 {
				t.Errorf("%d bytes, %d ranks: the chunks end at %d of %d, %d matrices are updated", bytes, ranks, at, s.Weights.Bytes, len(updated))
			}
			for p, n := range updated {
				if n != 1 {
					t.Errorf("%s is in %d segments", p.Name, n)
				}
			}
		}
	}
}
