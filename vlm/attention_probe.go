package vlm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/packing"
)

// AttentionProbe computes, in every layer of a forward pass, how the attention of some query
// tokens is distributed over groups of tokens. A layer's attention weights exist only while it
// runs, and only for the query tokens.
type AttentionProbe struct {
	groups int

	queries  *engine.Buffer // [B·n]; nil: all tokens
	kinds    []probedKind
	inputs   []probeInput
	memories []engine.Memory
	shares   [][]*nn.Tensor // by layer and buffer of values: [B·n, D]
}

// probedKind are the inputs of the layers of a kind of attention.
type probedKind struct {
	intervals *engine.Buffer   // [B·n, 4], of queries
	values    []*engine.Buffer // of GroupValues
}

// probeInput is a buffer with what is uploaded to it.
type probeInput struct {
	buffer *engine.Buffer
	upload func(dev engine.Device, to engine.View) error
}

// NewAttentionProbe makes a probe of the given queries, which are token indices in ascending
// order, the same number in each row of the batch b. group is the group of every token, from 0.
func NewAttentionProbe(runner *Runner, queries []int32, b *packing.Batch, group []int, groups int) (*AttentionProbe, error) {
	p := newAttentionProbe(runner.Config.Text, group, groups)
	p.queries = addInput(p, "queries", queries)
	for i, kind := range runner.Config.Text.AttentionKinds() {
		all := kind.Intervals(b.Intervals, b.Positions, b.T, 0)
		var seen []int32
		for _, q := range queries {
			seen = append(seen, all[4*q:][:4]...)
		}
		p.kinds[i].intervals = addInput(p, "intervals of the queries", seen)
	}
	return p, p.allocate(runner.Device)
}

// NewPassProbe makes a probe of all tokens of calls with tokens of one sequence (PagedInputs). group is the
// group of every key that a call reads.
func NewPassProbe(runner *Runner, group []int, groups int) (*AttentionProbe, error) {
	p := newAttentionProbe(runner.Config.Text, group, groups)
	return p, p.allocate(runner.Device)
}

// newAttentionProbe makes a probe with the values of groups alone.
func newAttentionProbe(t TextConfig, group []int, groups int) *AttentionProbe {
	p := &AttentionProbe{groups: groups}
	heads := t.keyHeads()
	for i, kind := range t.AttentionKinds() {
		var k probedKind
		for j, v := range nn.GroupValues(group, groups, heads[i], kind.HeadDim) {
			k.values = append(k.values, addInput(p, fmt.Sprintf("groups of keys %d", j), v))
		}
		p.kinds = append(p.kinds, k)
	}
	return p
}

// keyHeads returns the number of key/value heads by kind of attention.
func (c TextConfig) keyHeads() []int {
	heads := slices.Repeat([]int{1}, len(c.AttentionKinds()))
	for i := range c.NumHiddenLayers {
		l := c.Layer(i)
		heads[l.Attention] = l.KVHeads
	}
	return heads
}

// ProbeBytes is the memory that the groups of a probe take, for a number of keys.
func ProbeBytes(c TextConfig, keys, groups int) (bytes int64) {
	heads := c.keyHeads()
	for i, kind := range c.AttentionKinds() {
		values := (groups + kind.HeadDim - 1) / kind.HeadDim
		bytes += 4 * int64(values) * int64(keys) * int64(heads[i]*kind.HeadDim)
	}
	return bytes
}

// addInput adds a buffer with its contents, of 4 bytes each.
func addInput[T int32 | float32](p *AttentionProbe, name string, words []T) *engine.Buffer {
	b := engine.NewBuffer(name, 4*int64(len(words)))
	p.inputs = append(p.inputs, probeInput{b, func(dev engine.Device, to engine.View) error { return engine.Upload(dev, to, words) }})
	return b
}

// allocate allocates and fills the inputs.
func (p *AttentionProbe) allocate(dev engine.Device) (err error) {
	var buffers []*engine.Buffer
	for _, in := range p.inputs {
		buffers = append(buffers, in.buffer)
	}
	if p.memories, err = engine.Allocate(dev, "attention maps", buffers...); err != nil {
		return err
	}
	for _, in := range p.inputs {
		err = errors.Join(err, in.upload(dev, in.buffer.View()))
	}
	p.inputs = nil
	if err != nil {
		p.Close()
	}
	return err
}

// Close releases the buffers.
func (p *AttentionProbe) Close() {
	engine.Free(p.memories)
}

// Observe records the shares of a layer; it is passed to Model.HiddenObserved.
func (p *AttentionProbe) Observe(g *nn.Graph, l LayerConfig, q, k *nn.Tensor) {
	kind := p.kinds[l.Attention]
	rows, heads, d := q.Shape[0], q.Shape[2], q.Shape[3]
	n := int(p.queries.Bytes / 4)
	q = g.GatherRows(q.Reshape(q.Size()/heads/d, heads*d), nn.Input(p.queries, n), n).Reshape(rows, n/rows, heads, d)
	p.record(g, l, q, k, nn.Input(kind.intervals, rows, n/rows, 4))
}

// ObservePass returns the observer of a call, whose intervals by kind of attention are those of
// PagedInputs.
func (p *AttentionProbe) ObservePass(intervals []*nn.Tensor) Observer {
	return func(g *nn.Graph, l LayerConfig, q, k *nn.Tensor) { p.record(g, l, q, k, intervals[l.Attention]) }
}

// record records the shares of a layer's queries.
func (p *AttentionProbe) record(g *nn.Graph, l LayerConfig, q, k, intervals *nn.Tensor) {
	var groups []*nn.Tensor
	for _, v := range p.kinds[l.Attention].values {
		groups = append(groups, nn.Input(v, k.Shape...))
	}
	shares := g.AttentionShares(q, k, intervals, l.Scale, groups)
	for _, s := range shares {
		g.Keep(s)
	}
	p.shares = append(p.shares, shares)
}

// Read returns the shares after a run: [layer][query][group].
func (p *AttentionProbe) Read(ctx context.Context, dev engine.Device, exe engine.Executable) ([][][]float32, error) {
	var layers [][][]float32
	for _, shares := range p.shares {
		layer := make([][]float32, shares[0].Shape[0])
		for _, part := range shares {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			values, d := make([]float32, part.Size()), part.Cols()
			if err := engine.DownloadTemp(dev, exe, part.View(), values); err != nil {
				return nil, err
			}
			for i := range layer {
				row := values[i*d:][:d]
				layer[i] = append(layer[i], row[:min(d, p.groups-len(layer[i]))]...)
			}
		}
		layers = append(layers, layer)
	}
	return layers, nil
}
