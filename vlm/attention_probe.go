package vlm

import (
	"context"
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/packing"
)

// AttentionProbe computes, in every layer of a forward pass, how the attention of some query
// tokens is distributed over groups of tokens. A layer's attention weights exist only while it
// runs, and only for the query tokens.
type AttentionProbe struct {
	groups int

	queries  *engine.Buffer // [B·n]
	kinds    []probedKind
	memories []engine.Memory
	shares   [][]*nn.Tensor // by layer and buffer of values: [B·n, D]
}

// probedKind are the inputs of the layers of a kind of attention.
type probedKind struct {
	intervals *engine.Buffer   // [B·n, 4]
	values    []*engine.Buffer // of GroupValues
}

// NewAttentionProbe makes a probe of the given queries, which are token indices in ascending
// order, the same number in each row of the batch b. group is the group of every token, from 0.
func NewAttentionProbe(runner *Runner, queries []int32, b *packing.Batch, group []int, groups int) (*AttentionProbe, error) {
	t := runner.Config.Text
	p := &AttentionProbe{groups: groups, queries: engine.NewBuffer("queries", 4*int64(len(queries)))}
	heads := map[int]int{} // key/value heads by kind
	for i := range t.NumHiddenLayers {
		l := t.Layer(i)
		heads[l.Attention] = l.KVHeads
	}
	buffers := []*engine.Buffer{p.queries}
	var uploads []func(dev engine.Device) error
	for i, kind := range t.AttentionKinds() {
		k := probedKind{intervals: engine.NewBuffer("intervals of the queries", 16*int64(len(queries)))}
		all := kind.Intervals(b.Intervals, b.Positions, b.T, 0)
		var seen []int32
		for _, q := range queries {
			seen = append(seen, all[4*q:][:4]...)
		}
		buffers = append(buffers, k.intervals)
		uploads = append(uploads, func(dev engine.Device) error { return engine.Upload(dev, k.intervals.View(), seen) })
		for j, v := range nn.GroupValues(group, groups, max(1, heads[i]), kind.HeadDim) {
			buffer := engine.NewBuffer(fmt.Sprintf("groups of keys %d", j), 4*int64(len(v)))
			k.values, buffers = append(k.values, buffer), append(buffers, buffer)
			uploads = append(uploads, func(dev engine.Device) error { return engine.Upload(dev, buffer.View(), v) })
		}
		p.kinds = append(p.kinds, k)
	}
	var err error
	if p.memories, err = engine.Allocate(runner.Device, "attention maps", buffers...); err != nil {
		return nil, err
	}
	err = engine.Upload(runner.Device, p.queries.View(), queries)
	for _, upload := range uploads {
		err = errors.Join(err, upload(runner.Device))
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
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
	var groups []*nn.Tensor
	for _, v := range kind.values {
		groups = append(groups, nn.Input(v, k.Shape...))
	}
	shares := g.AttentionShares(q, k, nn.Input(kind.intervals, rows, n/rows, 4), l.Scale, groups)
	for _, s := range shares {
		g.Keep(s)
	}
	p.shares = append(p.shares, shares)
}

// Read returns the shares after a run: [layer][query][group].
func (p *AttentionProbe) Read(ctx context.Context, dev engine.Device, exe engine.Executable) ([][][]float32, error) {
	var layers [][][]float32
	for _, shares := range p.shares {
		layer := make([][]float32, p.queries.Bytes/4)
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
