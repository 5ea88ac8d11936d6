package nn

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"patchwork/engine"
)

// Param is a trainable tensor with its checkpoint name.
type Param struct {
	Name  string
	Shape []int
	Group string // learning-rate group
	Block string // parameters of one block, a decoder layer, stay in one allocation where they can
	Decay bool   // weight decay applies
	Init  Init
	// Factor says that it is a matrix which products read or tokens are looked up
	// in, and so may be in 16 bits.
	Factor bool

	offset int64 // in bytes, in each of the set's buffers
}

// Bytes is the parameter's size.
func (p *Param) Bytes() int64 { return 4 * int64(size(p.Shape)) }

// Init is how a parameter starts: normal of standard deviation Std around Mean.
type Init struct{ Mean, Std float64 }

// Params is a model's set of parameters. Weights, gradients and both of AdamW's
// moments each lie in one buffer, in the same order, so that the parameters of a
// learning-rate group that are decayed, and those that are not, are contiguous. On a
// device whose buffers are smaller, Divide cuts all of them in the same places.
type Params struct {
	Weights, Grads, M, V *engine.Buffer
	// Narrow is a copy of the weights in 16 bits, for products to read; nil without.
	Narrow *engine.Buffer

	stale     bool // the copy
	packed    bool // factors are in Narrow alone
	list      []*Param
	byName    map[string]*Param
	frozen    map[string]bool // groups that take no gradient for now
	untrained map[string]bool // groups that never take one
	sealed    bool
}

// NewParams starts an empty set.
func NewParams() *Params { return &Params{byName: map[string]*Param{}} }

// Add declares a parameter.
func (s *Params) Add(p *Param) *Param {
	s.list = append(s.list, p)
	s.byName[p.Name] = p
	return p
}

// All returns the parameters in the order of memory, once sealed.
func (s *Params) All() []*Param { return s.list }

// ByName returns a parameter or nil.
func (s *Params) ByName(name string) *Param { return s.byName[name] }

// Count is the number of trainable values.
func (s *Params) Count() int64 {
	var n int64
	for _, p := range s.list {
		n += p.Bytes() / 4
	}
	return n
}

// paramAlignment leaves a parameter's copy in 16 bits aligned too.
const paramAlignment = 2 * engine.Alignment

// Seal lays the parameters out: by group, decayed ones first, in the order in
// which they were declared.
func (s *Params) Seal() {
	groups := map[string]int{}
	for _, p := range s.list {
		if _, ok := groups[p.Group]; !ok {
			groups[p.Group] = len(groups)
		}
	}
	slices.SortStableFunc(s.list, func(a, b *Param) int {
		return cmp.Or(cmp.Compare(groups[a.Group], groups[b.Group]), cmp.Compare(undecayed(a), undecayed(b)))
	})
	var at int64
	for _, p := range s.list {
		p.offset = at
		at += (p.Bytes() + paramAlignment - 1) / paramAlignment * paramAlignment
	}
	s.Weights, s.Grads = engine.NewBuffer("weights", at), engine.NewBuffer("gradients", at)
	s.M, s.V = engine.NewBuffer("first moments", at), engine.NewBuffer("second moments", at)
	s.sealed = true
}

func undecayed(p *Param) int {
	if p.Decay {
		return 0
	}
	return 1
}

// Freeze makes the recordings that follow take no gradients for a group.
func (s *Params) Freeze(groups ...string) {
	s.frozen = map[string]bool{}
	for _, g := range groups {
		s.frozen[g] = true
	}
}

// Untrained gives groups neither gradients nor moments, and those that were
// declared last no memory for them. It is called before the buffers are placed.
func (s *Params) Untrained(groups ...string) {
	s.untrained = map[string]bool{}
	for _, g := range groups {
		s.untrained[g] = true
	}
	end := s.Weights.Bytes
	for i := len(s.list) - 1; i >= 0 && s.untrained[s.list[i].Group]; i-- {
		end = s.list[i].offset
	}
	s.Grads.Bytes, s.M.Bytes, s.V.Bytes = end, end, end
}

// In returns the parameters that have values in one of the set's buffers.
func (s *Params) In(b *engine.Buffer) []*Param {
	if b == s.Weights {
		return s.list
	}
	return slices.DeleteFunc(slices.Clone(s.list), func(p *Param) bool { return s.untrained[p.Group] })
}

func (s *Params) takesGradient(p *Param) bool { return !s.frozen[p.Group] && !s.untrained[p.Group] }

// Param is a parameter as a tensor of the recording, the same one each time: a
// table that is also the head has one gradient.
func (g *Graph) Param(p *Param) *Tensor {
	if t := g.params[p]; t != nil {
		return t
	}
	s := g.Options.Params
	n := &node{name: p.Name, view: s.view(s.Weights, p)}
	if s.Narrow != nil && (p.Factor || !s.packed) {
		n.half = s.NarrowView(p)
	}
	if g.Train && s.takesGradient(p) {
		n.needsGrad, n.written = true, g.Accumulate
		n.grad = s.Grads.View().Slice(p.offset, p.Bytes())
	}
	g.params[p] = &Tensor{Shape: p.Shape, node: n}
	return g.params[p]
}

// Initialise draws every parameter of the groups from its Init; without groups,
// of all. Each has a stream of its own from the seed and its name, so that a
// model's layers do not depend on the order in which they were declared.
func (s *Params) Initialise(dev engine.Device, seed uint64, groups ...string) error {
	for _, p := range s.list {
		if len(groups) > 0 && !slices.Contains(groups, p.Group) {
			continue
		}
		if err := s.Write(dev, p, p.Draw(seed, size(p.Shape))); err != nil {
			return err
		}
	}
	return nil
}

// Draw returns the first n values of the parameter's stream.
func (p *Param) Draw(seed uint64, n int) []float32 {
	random := rand.New(rand.NewPCG(seed, nameHash(p.Name)))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(p.Init.Mean + p.Init.Std*random.NormFloat64())
	}
	return values
}

// fillElements is the most that Fill holds at once, unless a row is longer.
const fillElements = 1 << 20

// fillBuffers are used again: what loading a model leaves to the garbage collector
// would otherwise be as large as the model.
var fillBuffers sync.Pool // of *[]float32

// Fill writes a parameter's first rows in one of the set's buffers, some rows at a
// time: read puts the elements from row-major index from on into its dst.
func (s *Params) Fill(dev engine.Device, to *engine.Buffer, p *Param, rows int, read func(from int, dst []float32) error) error {
	cols := size(p.Shape[1:])
	step := max(1, fillElements/max(1, cols))
	buffer, _ := fillBuffers.Get().(*[]float32)
	if need := min(rows, step) * cols; buffer == nil || cap(*buffer) < need {
		values := make([]float32, max(need, fillElements))
		buffer = &values
	}
	defer fillBuffers.Put(buffer)
	values := (*buffer)[:cap(*buffer)]
	for row := 0; row < rows; row += step {
		part := values[:min(step, rows-row)*cols]
		if err := read(row*cols, part); err != nil {
			return err
		}
		if err := engine.UploadFloats(dev, rowsOf(s.written(to, p), row, cols, len(part)), part); err != nil {
			return err
		}
	}
	return nil
}

// nameHash is FNV-1a.
func nameHash(name string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// Write sets a parameter's values.
func (s *Params) Write(dev engine.Device, p *Param, values []float32) error {
	if len(values) != size(p.Shape) {
		return fmt.Errorf("%s: got %d values, want shape %v", p.Name, len(values), p.Shape)
	}
	return engine.UploadFloats(dev, s.written(s.Weights, p), values)
}

// Read returns a parameter's values from one of the set's buffers: Weights,
// Grads, M or V.
func (s *Params) Read(dev engine.Device, from *engine.Buffer, p *Param) ([]float32, error) {
	values := make([]float32, size(p.Shape))
	return values, engine.DownloadFloats(dev, s.view(from, p), values)
}

// SetRow sets one row of a parameter.
func (s *Params) SetRow(dev engine.Device, p *Param, row int, values []float32) error {
	cols := size(p.Shape[1:])
	if len(values) != cols || row < 0 || row >= p.Shape[0] {
		return fmt.Errorf("%s: got %d values for row %d of shape %v", p.Name, len(values), row, p.Shape)
	}
	return engine.UploadFloats(dev, rowsOf(s.written(s.Weights, p), row, cols, cols), values)
}

// WriteTo sets a parameter's values in one of the set's buffers.
func (s *Params) WriteTo(dev engine.Device, to *engine.Buffer, p *Param, values []float32) error {
	return engine.UploadFloats(dev, s.written(to, p), values)
}

func (s *Params) view(b *engine.Buffer, p *Param) engine.View {
	if b == s.Weights && s.packed && p.Factor {
		return s.NarrowView(p)
	}
	return b.View().Slice(p.offset, p.Bytes())
}

// written is view, for writing.
func (s *Params) written(b *engine.Buffer, p *Param) engine.View {
	s.stale = s.stale || b == s.Weights
	return s.view(b, p)
}

// FanIn is the initial spread of a Linear's weight with the given inputs.
func FanIn(inputs int) Init { return Init{Std: 1 / math.Sqrt(float64(inputs))} }

// rowsOf is n elements from a row on of a matrix's view.
func rowsOf(v engine.View, row, cols, n int) engine.View {
	size := v.Buffer.Type.Size()
	return v.Slice(size*int64(row*cols), size*int64(n))
}
