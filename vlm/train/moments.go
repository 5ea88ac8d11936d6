package train

import (
	"context"

	"patchwork/engine"
)

// With --shard-optimizer every rank has the moments of its own segments. Rank 0 gathers them in
// host memory to save them, and scatters those that it has read.

// gatherMoments copies the moments of all ranks into rank 0's snapshot.
func (t *trainer) gatherMoments(ctx context.Context) error {
	if err := t.reserveMoments(ctx); err != nil {
		return err
	}
	return t.eachSegment(func(at momentSegment) error {
		if err := engine.Download(t.Device, at.view, at.mine); err != nil {
			return err
		}
		return t.job.GatherFloat32(ctx, 0, at.mine, at.all, at.bounds)
	})
}

// scatterMoments gives every rank its segments of the moments in rank 0's snapshot.
func (t *trainer) scatterMoments(ctx context.Context) error {
	return t.eachSegment(func(at momentSegment) error {
		if err := t.job.ScatterFloat32(ctx, 0, at.all, at.mine, at.bounds); err != nil {
			return err
		}
		return engine.Upload(t.Device, at.view, at.mine)
	})
}

// reserveMoments makes rank 0's snapshot.
func (t *trainer) reserveMoments(ctx context.Context) error {
	var err error
	if t.leads() {
		p := t.model.Params
		for _, b := range []*engine.Buffer{p.M, p.V} {
			if err == nil {
				err = t.saver.snapshot.Reserve(b, p.MomentBytes())
			}
		}
	}
	return t.agree(ctx, err)
}

// momentSegment is this rank's segment of a chunk's moments.
type momentSegment struct {
	view   engine.View // on the device
	mine   []float32   // a copy of it; on rank 0 a part of all
	all    []float32   // the whole chunk's; only on rank 0
	bounds []int       // of the ranks' segments
}

// eachSegment calls f for every chunk of both moments.
func (t *trainer) eachSegment(f func(at momentSegment) error) error {
	r, p := t.trainStep.reducer, t.model.Params
	for _, b := range []*engine.Buffer{p.M, p.V} {
		i := 0
		err := p.EachOwned(b, func(offset int64, v engine.View) error {
			c := r.chunks[i]
			i++
			at := momentSegment{view: v, bounds: r.bounds(c)}
			if t.leads() {
				at.all = t.saver.snapshot.All(b)[c.Offset/4:][:c.Bytes/4]
				at.mine = at.all[at.bounds[0]:at.bounds[1]]
			} else {
				at.mine = make([]float32, v.Bytes/4)
			}
			return f(at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
