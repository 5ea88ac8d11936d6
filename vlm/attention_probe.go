package vlm

import (
	"context"
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
)

// AttentionProbe computes, in every layer of a forward pass, how the attention of some query
// tokens is distributed over groups of tokens. A layer's attention weights exist only while it
// runs, and only for the query tokens.
type AttentionProbe struct {
	groups int
	config TextConfig

	queries, intervals *engine.Buffer // [B·n], [B·n, 4]
	values             []*engine.Buffer
	memories           []engine.Memory
	shares             [][]*nn.Tensor // by layer and buffer of values: [B·n, D]
}

// NewAttentionProbe makes a probe of the given queries, which are token indices in ascending
// order, the same number in each row of the batch. group is the group of every token, from 0.
func NewAttentionProbe(runner *Runner, queries, intervals []int32, group []int, groups int) (*AttentionProbe, error) {
	t := runner.Config.Text
	p := &AttentionProbe{
		groups: groups, config: t,
		queries: engine.NewBuffer("queries", 4*int64(len(queries))), intervals: engine.NewBuffer("intervals of the queries", 16*int64(len(queries))),
	}
	values := nn.GroupValues(group, groups, t.NumKeyValueHeads, t.HeadDim)
	for i, v := range values {
		p.values = append(p.values, engine.NewBuffer(fmt.Sprintf("groups of keys %d", i), 4*int64(len(v))))
	}
	var err error
	if p.memories, err = engine.Allocate(runner.Device, "attention maps", append(p.values, p.queries, p.intervals)...); err != nil {
		return nil, err
	}
	if err = p.upload(runner.Device, queries, intervals, values); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *AttentionProbe) upload(dev engine.Device, queries, intervals []int32, values [][]float32) error {
	var seen []int32
	for _, q := range queries {
		seen = append(seen, intervals[4*q:][:4]...)
	}
	err := errors.Join(engine.Upload(dev, p.queries.View(), queries), engine.Upload(dev, p.intervals.View(), seen))
	for i, v := range values {
		err = errors.Join(err, engine.Upload(dev, p.values[i].View(), v))
	}
	return err
}

// Close releases the buffers.
func (p *AttentionProbe) Close() {
	engine.Free(p.memories)
}

// Observe records the shares of a layer; it is passed to Model.HiddenObserved.
func (p *AttentionProbe) Observe(g *nn.Graph, q, k *nn.Tensor) {
	rows, heads, d := q.Shape[0], q.Shape[2], q.Shape[3]
	n := int(p.queries.Bytes / 4)
	q = g.GatherRows(q.Reshape(q.Size()/heads/d, heads*d), nn.Input(p.queries, n), n).Reshape(rows, n/rows, heads, d)
	var groups []*nn.Tensor
	for _, v := range p.values {
		groups = append(groups, nn.Input(v, k.Shape...))
	}
	shares := g.AttentionShares(q, k, nn.Input(p.intervals, rows, n/rows, 4), groups)
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
