package nn

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// layered is a set with an embedding of 2000 values and four layers, each of three
// matrices of 1000 and a norm of 10.
func layered() *Params {
	s := NewParams()
	s.Add(&Param{Name: "embed", Shape: []int{20, 100}, Group: "words", Decay: true, Factor: true})
	for layer := range 4 {
		for _, name := range []string{"q", "k", "v"} {
			s.Add(&Param{Name: fmt.Sprintf("layers.%d.%s.weight", layer, name), Shape: []int{10, 100}, Group: "words", Decay: true, Factor: true})
		}
		s.Add(&Param{Name: fmt.Sprintf("layers.%d.norm.weight", layer), Shape: []int{10}, Group: "words"})
	}
	s.Seal()
	return s
}

func limited(most int64) engine.Info {
	return engine.Info{Device: "small", Limits: engine.Limits{MaxBufferBytes: most}}
}

// partsOf are the names of the parameters in each part of a buffer.
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

// TestDivide: no part is larger than a buffer, every parameter lies in one part, and
// a layer is only divided where it must be.
func TestDivide(t *testing.T) {
	const matrix, norms = 4096, 4 * 512 // bytes, as they are laid out
	for _, c := range []struct {
		most  int64
		parts []int // parameters in each
	}{
		{0, []int{17}}, {8192 + 12*matrix + norms, []int{17}}, {8192 + 12*matrix, []int{13, 4}},
		{7 * matrix, []int{4, 6, 7}}, // not 6 matrices of two layers and one of a third
		{5 * matrix, []int{4, 3, 3, 7}}, {4*matrix + 1, []int{1, 3, 3, 3, 7}}, {2 * matrix, []int{1, 2, 1, 2, 1, 2, 1, 2, 5}},
	} {
		s := layered()
		s.Halve(shaders.BF16)
		if err := s.Divide(limited(c.most)); err != nil {
			t.Fatal(err)
		}
		for _, part := range s.Weights.Parts() {
			if c.most > 0 && part.Bytes > c.most {
				t.Errorf("buffers of %d: a part of %d", c.most, part.Bytes)
			}
		}
		for b, view := range map[*engine.Buffer]func(p *Param) engine.View{
			s.Weights: func(p *Param) engine.View { return s.view(s.Weights, p) }, s.M: func(p *Param) engine.View { return s.view(s.M, p) }, s.Narrow: s.NarrowView,
		} {
			var got []int
			for _, names := range partsOf(s, b, view) {
				got = append(got, len(names))
			}
			if !slices.Equal(got, c.parts) {
				t.Errorf("buffers of %d, %s: %d parameters in each part, want %d", c.most, b.Label, got, c.parts)
			}
		}
		var at int64
		for _, r := range s.Ranges() {
			if r.Offset != at || !s.Weights.Contiguous(r.Offset, r.Bytes) {
				t.Errorf("buffers of %d: %+v behind byte %d", c.most, r, at)
			}
			at += r.Bytes
		}
		if at != s.Weights.Bytes {
			t.Errorf("buffers of %d: the ranges end at %d of %d", c.most, at, s.Weights.Bytes)
		}
	}
}

// TestDividePacked: factors in 16 bits fit into half the buffers.
func TestDividePacked(t *testing.T) {
	s := layered()
	s.Pack(shaders.F16)
	if err := s.Divide(limited(4 * 4096)); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, names := range partsOf(s, s.Narrow, func(p *Param) engine.View { return s.view(s.Weights, p) }) {
		got = append(got, len(names))
	}
	if want := []int{7, 6}; !slices.Equal(got, want) || len(s.Weights.Parts()) != 1 {
		t.Errorf("%d factors in each part, want %d, and %d parts of other parameters", got, want, len(s.Weights.Parts()))
	}
}

// TestDivideTooLarge: the embedding alone is larger than a buffer.
func TestDivideTooLarge(t *testing.T) {
	s := layered()
	if err := s.Divide(limited(8000)); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("got %v, want an unsupported-error", err)
	}
	s.Pack(shaders.F16)
	if err := s.Divide(limited(8000)); err != nil {
		t.Errorf("in 16 bits: %v", err)
	}
}
