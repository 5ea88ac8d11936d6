package nn

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"patchwork/engine"
	"patchwork/shaders/eightbit"
	"patchwork/shaders/quant"
)

// Param is a trainable tensor with its checkpoint name.
type Param struct {
	Name  string
	Shape []int
	Group string // learning-rate group
	Block string // such as one decoder layer, which is sharded only where it must be; "" = none
	Decay bool   // weight decay applies
	Init  Init
	// MatmulWeight marks a matrix that matmuls read or tokens are looked up in, which can
	// be stored in 16 bits.
	MatmulWeight bool
	// Muon: the matrix is updated by Muon, which has no second moments, instead of AdamW. It
	// is set before the parameters are recorded.
	Muon bool

	// Where the values are: in Weights and the other buffers of 32 bits; with halfOnly only in
	// Half; with a format only in Blocks.
	offset   int64 // in bytes, 4 a value, in Half too
	halfOnly bool
	format   *quant.Format
	rounded  *quant.Format // of FakeQuant: the copy in Half is rounded to it
}

// Count is the number of values.
func (p *Param) Count() int64 { return int64(size(p.Shape)) }

// Bytes is the parameter's size in 32 bits.
func (p *Param) Bytes() int64 { return 4 * p.Count() }

// Init is a parameter's initial distribution: normal, of standard deviation Std around Mean.
type Init struct{ Mean, Std float64 }

// Params is a model's set of parameters. Weights, gradients and AdamW's two moments are
// one buffer each, in the same order, in which the decayed parameters of a learning-rate
// group are contiguous, and so are the others. For a device whose allocations are
// smaller, Shard splits all buffers at the same offsets.
type Params struct {
	Weights, Grads, M, V *engine.Buffer
	// MScale and VScale are the scales of moments in 8 bits; nil = they have 32.
	MScale, VScale *engine.Buffer
	// Half is a copy of the weights which matmuls read: in 16 bits, or for FakeQuant in F32; nil =
	// none.
	Half *engine.Buffer
	// Blocks holds the quantised matrices, which are only there; nil = none.
	Blocks *engine.Buffer

	halfStale bool  // Weights have been written since Half was
	noCopies  bool  // Half has only what is not in Weights
	copies    int64 // bytes of Weights that Half has copies of, before what is only there
	order     []string
	list      []*Param
	byName    map[string]*Param
	frozen    map[string]bool // groups that currently take no gradient
	untrained map[string]bool // groups that never take a gradient
	base      map[string]bool // groups whose values are in other files than the model's own
	sealed    bool
	owned     []ownedRange // with sharded moments: this rank's
	moments   *Snapshot    // with sharded moments: what Fill writes to
}

// NewParams starts an empty set. In memory, parameters are in the order of these groups;
// other groups follow in the order in which they are first declared.
func NewParams(groups ...string) *Params { return &Params{byName: map[string]*Param{}, order: groups} }

// Add declares a parameter.
func (s *Params) Add(p *Param) *Param {
	s.list = append(s.list, p)
	s.byName[p.Name] = p
	return p
}

// All returns the parameters, in the order of memory once they are sealed.
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

// paramAlignment keeps a parameter's copy in 16 bits aligned, too.
const paramAlignment = 2 * engine.Alignment

// alignment is that of parameters: with moments in 8 bits, each consists of whole blocks.
func (s *Params) alignment() int64 {
	if s.MScale != nil {
		return 4 * eightbit.Block
	}
	return paramAlignment
}

func (s *Params) alignedBytes(p *Param) int64 { return alignUp(p.Bytes(), s.alignment()) }

// Seal assigns the parameters' offsets: by group, decayed ones first, otherwise in the
// order of their declaration.
func (s *Params) Seal() {
	groups := map[string]int{}
	for i, g := range s.order {
		groups[g] = i
	}
	for _, p := range s.list {
		if _, ok := groups[p.Group]; !ok {
			groups[p.Group] = len(groups)
		}
	}
	slices.SortStableFunc(s.list, func(a, b *Param) int {
		return cmp.Or(cmp.Compare(groups[a.Group], groups[b.Group]), cmp.Compare(undecayed(a), undecayed(b)))
	})
	at := s.place()
	s.Weights, s.Grads = engine.NewBuffer("weights", at), engine.NewBuffer("gradients", at)
	s.M, s.V = engine.NewBuffer("first moments", at), engine.NewBuffer("second moments", at)
	s.sealed = true
}

// place assigns the offsets in the order of the list, and returns the end.
func (s *Params) place() (end int64) {
	for _, p := range s.list {
		p.offset = end
		end += s.alignedBytes(p)
	}
	return end
}

func undecayed(p *Param) int {
	if p.Decay {
		return 0
	}
	return 1
}

// Freeze makes later recordings take no gradients for the groups, and unfreezes all other
// groups.
func (s *Params) Freeze(groups ...string) {
	s.frozen = map[string]bool{}
	for _, g := range groups {
		s.frozen[g] = true
	}
}

// Untrained excludes groups from training for good. Groups at the end of the buffers get
// no memory for gradients and moments. It is called before the buffers are placed.
func (s *Params) Untrained(groups ...string) {
	if s.untrained == nil {
		s.untrained = map[string]bool{}
	}
	for _, g := range groups {
		s.untrained[g] = true
	}
	s.setBytes(s.Weights.Bytes)
}

// Base marks groups as the frozen base of adapters: they take no gradients, and their values
// are not among those of In. It is called after Seal.
func (s *Params) Base(groups ...string) {
	s.Untrained(groups...)
	s.base = map[string]bool{}
	for _, g := range groups {
		s.base[g] = true
	}
}

// In returns the parameters that have values in one of the set's buffers, without those of
// a frozen base.
func (s *Params) In(b *engine.Buffer) []*Param {
	if b == s.Weights {
		return slices.DeleteFunc(slices.Clone(s.list), func(p *Param) bool { return s.base[p.Group] })
	}
	return slices.DeleteFunc(slices.Clone(s.inWeights()), func(p *Param) bool { return s.untrained[p.Group] || b == s.V && p.Muon })
}

func (s *Params) requiresGrad(p *Param) bool {
	return !s.frozen[p.Group] && !s.untrained[p.Group] && p.format == nil && !p.halfOnly
}

// WithGrad returns the parameters that take gradients now.
func (s *Params) WithGrad() []*Param {
	return slices.DeleteFunc(slices.Clone(s.list), func(p *Param) bool { return !s.requiresGrad(p) })
}

// GradView is where a parameter's gradient is.
func (s *Params) GradView(p *Param) engine.View { return s.Grads.View().Slice(p.offset, p.Bytes()) }

// Param is a parameter as a tensor of the recording, the same one each time, so that an
// embedding that is also the head has one gradient.
func (g *Graph) Param(p *Param) *Tensor {
	if t := g.params[p]; t != nil {
		return t
	}
	s := g.Options.Params
	n := &node{name: p.Name, view: s.view(s.Weights, p), format: p.format, rounded: p.rounded != nil}
	if p.format == nil && s.Half != nil && (p.halfOnly || !s.noCopies) {
		n.half = s.HalfView(p)
	}
	if g.Train && s.requiresGrad(p) {
		n.needsGrad, n.written = true, g.Accumulate
		n.grad = s.Grads.View().Slice(p.offset, p.Bytes())
	}
	g.params[p] = &Tensor{Shape: p.Shape, node: n}
	return g.params[p]
}

// Initialise draws every parameter of the groups, or of all groups, from its Init. Each
// has its own random stream, seeded by the seed and its name, so that the values do
// not depend on the order of declaration.
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

// Draw returns the first n values of the parameter's random stream.
func (p *Param) Draw(seed uint64, n int) []float32 {
	random := rand.New(rand.NewPCG(seed, fnv1a(p.Name)))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(p.Init.Mean + p.Init.Std*random.NormFloat64())
	}
	return values
}

// fillElements is how many elements Fill holds at once, unless a row is longer.
const fillElements = 1 << 20

// fillBuffers are reused: otherwise loading a model would leave as much garbage as the
// model is large.
var fillBuffers sync.Pool // of *[]float32

// Fill writes a parameter's first rows into one of the set's buffers, some rows at a
// time: read fills dst with the elements from row-major index from on.
func (s *Params) Fill(dev engine.Device, to *engine.Buffer, p *Param, rows int, read func(from int, dst []float32) error) error {
	cols := size(p.Shape[1:])
	step := max(1, fillElements/max(1, cols))
	eightBit := s.momentScales(to) != nil
	if eightBit {
		step = int(alignUp(int64(step), eightbit.Block)) // whole blocks
	}
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
		if s.owned != nil && (to == s.M || to == s.V) {
			copy(s.moments.Values(to, p)[row*cols:], part)
			continue
		}
		write := s.writeRows
		if eightBit {
			write = s.writeMoments
		}
		if err := write(dev, to, p, row, part); err != nil {
			return err
		}
	}
	return nil
}

// fnv1a is the 64-bit FNV-1a hash.
func fnv1a(name string) uint64 {
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
	return s.writeRows(dev, s.Weights, p, 0, values)
}

// writeRows writes whole rows of a parameter in one of the set's buffers.
func (s *Params) writeRows(dev engine.Device, to *engine.Buffer, p *Param, row int, values []float32) error {
	if to == s.Weights && p.format != nil {
		return s.writeQuantised(dev, p, row, values)
	}
	return engine.UploadFloats(dev, rowsOf(s.written(to, p), row, size(p.Shape[1:]), len(values)), values)
}

// Read returns a parameter's values from one of the set's buffers: Weights,
// Grads, M or V.
func (s *Params) Read(dev engine.Device, from *engine.Buffer, p *Param) ([]float32, error) {
	if from == s.Weights && p.format != nil {
		return s.readQuantised(dev, p)
	}
	if s.momentScales(from) != nil {
		return s.readMoments(dev, from, p)
	}
	values := make([]float32, size(p.Shape))
	return values, engine.DownloadFloats(dev, s.view(from, p), values)
}

// SetRow sets one row of a parameter.
func (s *Params) SetRow(dev engine.Device, p *Param, row int, values []float32) error {
	cols := size(p.Shape[1:])
	if len(values) != cols || row < 0 || row >= p.Shape[0] {
		return fmt.Errorf("%s: got %d values for row %d of shape %v", p.Name, len(values), row, p.Shape)
	}
	return s.writeRows(dev, s.Weights, p, row, values)
}

func (s *Params) view(b *engine.Buffer, p *Param) engine.View {
	if b == s.Weights && p.format != nil {
		return s.blocksView(p)
	}
	if b == s.Weights && p.halfOnly {
		return s.HalfView(p)
	}
	return b.View().Slice(p.offset, p.Bytes())
}

// written is view for writing.
func (s *Params) written(b *engine.Buffer, p *Param) engine.View {
	s.halfStale = s.halfStale || b == s.Weights
	return s.view(b, p)
}

// FanIn is the initial distribution of a Linear's weight with the given number of inputs:
// a standard deviation of 1/√inputs.
func FanIn(inputs int) Init { return Init{Std: 1 / math.Sqrt(float64(inputs))} }

// rowsOf is n elements of a matrix's view, from a row on.
func rowsOf(v engine.View, row, cols, n int) engine.View {
	size := v.Buffer.Type.Size()
	return v.Slice(size*int64(row*cols), size*int64(n))
}
