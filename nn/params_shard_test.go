package nn

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// layeredParams is a set with an embedding of 2000 values and four layers, each of three
// matrices of 1000 and a norm of 10.
func layeredParams() *Params {
	s := NewParams()
	s.Add(&Param{Name: "embed", Shape: []int{20, 100}, Group: "decoder", Decay: true, MatmulWeight: true})
	for layer := range 4 {
		for _, name := range []string{"q", "k", "v"} {
			s.Add(&Param{Name: fmt.Sprint(name, layer), Shape: []int{10, 100}, Group: "decoder", Block: fmt.Sprint(layer), Decay: true, MatmulWeight: true})
		}
		s.Add(&Param{Name: fmt.Sprint("norm", layer), Shape: []int{10}, Group: "decoder", Block: fmt.Sprint(layer)})
	}
	s.Seal()
	return s
}

func infoWithLimit(maxBytes int64) engine.Info {
	return engine.Info{Device: "small", Limits: engine.Limits{MaxBufferBytes: maxBytes}}
}

// partsOf are the names of the parameters in each allocation of a buffer.
func partsOf(s *Params, b *engine.Buffer, view func(p *Param) engine.View) (names [][]string) {
	for _, part := range b.Parts() {
		var in []string
		for _, p := range s.All() {
			if v := view(p); v.Buffer == b && v.Offset >= part.Offset && v.Offset+v.Bytes <= part.Offset+part.Bytes {
				in = append(in, p.Name)
			}
		}
		names = append(names, in)
	}
	return names
}

// TestShard: no allocation is larger than the limit, every parameter is in one allocation,
// and a layer is only split where it must be.
func TestShard(t *testing.T) {
	const matrix, norms = 4096, 4 * 512 // bytes, with alignment
	for _, copied := range []shaders.Type{shaders.BF16, shaders.F32} {
		t.Run(copied.String(), func(t *testing.T) { testShard(t, copied, matrix, norms) })
	}
}

func testShard(t *testing.T, copied shaders.Type, matrix, norms int64) {
	for _, c := range []struct {
		limit int64
		parts []int // parameters in each
	}{
		{0, []int{17}}, {8192 + 12*matrix + norms, []int{17}}, {8192 + 12*matrix, []int{13, 4}},
		{7 * matrix, []int{4, 6, 7}}, // not 6 matrices of two layers and one of a third
		{5 * matrix, []int{4, 3, 3, 7}}, {4*matrix + 1, []int{1, 3, 3, 3, 7}}, {2 * matrix, []int{1, 2, 1, 2, 1, 2, 1, 2, 5}},
	} {
		s := layeredParams()
		s.AddHalfCopy(copied)
		if err := s.Shard(infoWithLimit(c.limit)); err != nil {
			t.Fatal(err)
		}
		for _, part := range s.Weights.Parts() {
			if c.limit > 0 && part.Bytes > c.limit {
				t.Errorf("limit %d: an allocation of %d", c.limit, part.Bytes)
			}
		}
		for b, view := range map[*engine.Buffer]func(p *Param) engine.View{
			s.Weights: func(p *Param) engine.View { return s.view(s.Weights, p) }, s.M: func(p *Param) engine.View { return s.view(s.M, p) }, s.Half: s.HalfView,
		} {
			var got []int
			for _, names := range partsOf(s, b, view) {
				got = append(got, len(names))
			}
			if !slices.Equal(got, c.parts) {
				t.Errorf("limit %d, %s: %d parameters in each allocation, want %d", c.limit, b.Label, got, c.parts)
			}
		}
		var at int64
		for _, r := range s.Ranges() {
			if r.Offset != at || !s.Weights.Contiguous(r.Offset, r.Bytes) {
				t.Errorf("limit %d: %+v, want it at byte %d", c.limit, r, at)
			}
			at += r.Bytes
		}
		if at != s.Weights.Bytes {
			t.Errorf("limit %d: the ranges end at %d of %d", c.limit, at, s.Weights.Bytes)
		}
	}
}

// TestShardHalfOnly: matmul weights stored in 16 bits fit into half the allocations.
func TestShardHalfOnly(t *testing.T) {
	s := layeredParams()
	s.StoreHalf(shaders.F16)
	if err := s.Shard(infoWithLimit(4 * 4096)); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, names := range partsOf(s, s.Half, func(p *Param) engine.View { return s.view(s.Weights, p) }) {
		got = append(got, len(names))
	}
	if want := []int{7, 6}; !slices.Equal(got, want) || len(s.Weights.Parts()) != 1 {
		t.Errorf("%d weights in each allocation, want %d, and %d allocations of other parameters", got, want, len(s.Weights.Parts()))
	}
}

// TestShardTooLarge: the embedding alone is larger than the limit.
func TestShardTooLarge(t *testing.T) {
	s := layeredParams()
	if err := s.Shard(infoWithLimit(8000)); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("got %v, want an engine.ErrUnsupported", err)
	}
	s.StoreHalf(shaders.F16)
	if err := s.Shard(infoWithLimit(8000)); err != nil {
		t.Errorf("in 16 bits: %v", err)
	}
}
