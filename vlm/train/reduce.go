package train

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/internal/mpi"
	"patchwork/nn"
)

// reducer sums the gradients of all ranks, chunk by chunk, while the backward pass still computes
// others: the program is cut where chunks become final, and a goroutine exchanges a chunk while
// the next part runs. On a device with memory of its own, chunks go through the host.
type reducer struct {
	world   *mpi.World
	channel *mpi.Channel
	dev     engine.Device
	params  *nn.Params
	sharded bool // every rank updates its own segments and sends the weights to the others

	chunks  []nn.Chunk
	order   []int          // in which the chunks are reduced, the same on all ranks
	squares *engine.Buffer // the sum of the squares of the gradients, for the update
	memory  []engine.Memory

	host   nn.Snapshot
	mirror []float32 // of gradients or weights on the host; nil where the device's memory is the host's
	sums   []float64 // of the squares of this rank's segments, by chunk

	computed time.Time // when this rank's own work for the last step ended

	work  chan func() (chunk int, err error)
	done  chan reduced
	ended chan struct{}
}

// reduced is a chunk that was exchanged.
type reduced struct {
	chunk int
	err   error
}

// chunkBytes is the size of a chunk: large enough for the network, small enough that only little
// is left to do when the backward pass ends.
func chunkBytes(total int64) int64 { return min(max(total/16, 1<<20), 32<<20) }

// newReducer makes the reducer of a rank, nil for a world of one. With sharded moments
// ShardMoments has been called with the same chunks.
func newReducer(w *mpi.World, m *nn.Params, dev engine.Device, chunks []nn.Chunk, sharded bool) (*reducer, error) {
	if w.Size() == 1 {
		return nil, nil
	}
	r := &reducer{
		world: w, channel: w.Channel(gradientChannel), dev: dev, params: m, sharded: sharded, chunks: chunks,
		squares: engine.NewBuffer("sum of squares", 4), sums: make([]float64, len(chunks)),
		work: make(chan func() (int, error), len(chunks)), done: make(chan reduced, len(chunks)), ended: make(chan struct{}),
	}
	var err error
	if r.memory, err = engine.Allocate(dev, "the sum of squares", r.squares); err != nil {
		return nil, err
	}
	if _, ok := engine.HostFloats(dev, r.squares.View()); !ok {
		if err := r.host.Reserve(m.Weights, m.Weights.Bytes); err != nil {
			engine.Free(r.memory)
			return nil, err
		}
		r.mirror = r.host.All(m.Weights)
	}
	go r.exchange()
	return r, nil
}

// agreeOrder sets the order of the chunks to that in which rank 0's program makes them final.
func (r *reducer) agreeOrder(ctx context.Context, p *engine.Plan) error {
	ends := p.LastWrites(r.gradients())
	r.order = make([]int, len(r.chunks))
	for i := range r.order {
		r.order[i] = i
	}
	slices.SortStableFunc(r.order, func(a, b int) int { return cmp.Compare(ends[a], ends[b]) })
	var message bytes.Buffer
	if err := gob.NewEncoder(&message).Encode(r.order); err != nil {
		return err
	}
	order, err := r.channel.Broadcast(ctx, 0, message.Bytes())
	if err != nil {
		return err
	}
	var first []int
	if err := gob.NewDecoder(bytes.NewReader(order)).Decode(&first); err != nil {
		return err
	}
	if len(first) != len(r.order) {
		return fmt.Errorf("the gradients are divided into %d chunks here and into %d on rank 0: use the same kind of device for all ranks", len(r.order), len(first))
	}
	r.order = first
	return nil
}

func (r *reducer) gradients() (views []engine.View) {
	for _, c := range r.chunks {
		views = append(views, r.params.Grads.View().Slice(c.Offset, c.Bytes))
	}
	return views
}

// cutPlan is a part of a program, and the chunks that are final after it.
type cutPlan struct {
	*engine.Plan
	final []int
}

// cut divides a program where chunks become final.
func (r *reducer) cut(p *engine.Plan) []cutPlan {
	ends := p.LastWrites(r.gradients())
	var at []int
	final := map[int][]int{} // by end
	end := 0
	for _, i := range r.order {
		if !r.params.Trained(r.chunks[i].Range) {
			continue
		}
		if end = max(end, ends[i]); len(final[end]) == 0 && end < len(p.Dispatches) {
			at = append(at, end)
		}
		final[end] = append(final[end], i)
	}
	var parts []cutPlan
	for i, part := range p.Cut(at) {
		end := len(p.Dispatches)
		if i < len(at) {
			end = at[i]
		}
		parts = append(parts, cutPlan{part, final[end]})
	}
	return parts
}

// run executes the parts of a program and reduces the chunks that are final after each. It returns
// when all of them are reduced.
func (r *reducer) run(parts int, execute func(i int) error, final func(i int) []int) error {
	pending := 0 // chunks that are being exchanged
	hand := func(chunks []int) error {
		if err := engine.WaitFetched(r.dev); err != nil {
			return err
		}
		for _, c := range chunks {
			r.work <- func() (int, error) { return c, r.reduce(c) }
			pending++
		}
		return nil
	}
	var fetched []int
	for i := range parts {
		if err := execute(i); err != nil {
			return err
		}
		if err := hand(fetched); err != nil { // while the device runs part i
			return err
		}
		fetched = final(i)
		for _, c := range fetched {
			if err := r.fetch(r.params.Grads, r.chunks[c].Range); err != nil {
				return err
			}
		}
		if err := r.collect(&pending, r.uploadReduced, false); err != nil {
			return err
		}
	}
	if err := hand(fetched); err != nil {
		return err
	}
	r.computed = time.Now()
	defer r.world.Pause()()
	return r.collect(&pending, r.uploadReduced, true)
}

// collect uses the chunks that were exchanged; with wait, until none is pending.
func (r *reducer) collect(pending *int, use func(chunk int) error, wait bool) error {
	for *pending > 0 {
		var d reduced
		if wait {
			d = <-r.done
		} else {
			select {
			case d = <-r.done:
			default:
				return nil
			}
		}
		*pending--
		if d.err != nil {
			return d.err
		}
		if err := use(d.chunk); err != nil {
			return err
		}
	}
	return nil
}

// reduce sums a chunk: this rank's segment of it or, unless the optimizer is sharded, all of it.
func (r *reducer) reduce(chunk int) error {
	c := r.chunks[chunk]
	values, bounds := r.values(r.params.Grads, c.Range), r.bounds(c)
	if err := r.channel.ReduceScatter(context.Background(), values, bounds); err != nil {
		return err
	}
	rank := r.world.Rank()
	r.sums[chunk] = sumOfSquares(values[bounds[rank]:bounds[rank+1]])
	if r.sharded {
		return nil
	}
	return r.channel.AllGatherFloat32(context.Background(), values, bounds)
}

func (r *reducer) bounds(c nn.Chunk) []int {
	bounds := make([]int, len(c.Bounds))
	for i, b := range c.Bounds {
		bounds[i] = int(b / 4)
	}
	return bounds
}

// sumOfSquares adds in an order that does not depend on how it is compiled.
func sumOfSquares(x []float32) float64 {
	var sums [4]float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		sums[0] += float64(v[0]) * float64(v[0])
		sums[1] += float64(v[1]) * float64(v[1])
		sums[2] += float64(v[2]) * float64(v[2])
		sums[3] += float64(v[3]) * float64(v[3])
	}
	for ; i < len(x); i++ {
		sums[0] += float64(x[i]) * float64(x[i])
	}
	return sums[0] + sums[1] + sums[2] + sums[3]
}

// ownSquares is the sum of the squares of this rank's segments of the chunks that are trained.
func (r *reducer) ownSquares() (sum float64) {
	for i, c := range r.chunks {
		if r.params.Trained(c.Range) {
			sum += r.sums[i]
		}
	}
	return sum
}

// setSquares gives the update the sum of the squares of all gradients.
func (r *reducer) setSquares(squares float64) error {
	return engine.Upload(r.dev, r.squares.View(), []float32{float32(squares)})
}

// gatherWeights sends the weights of this rank's segments to the other ranks, and receives theirs,
// if the optimizer is sharded.
func (r *reducer) gatherWeights() error {
	if !r.sharded {
		return nil
	}
	pending := 0
	for i, c := range r.chunks {
		if !r.params.Trained(c.Range) {
			continue
		}
		if err := r.fetch(r.params.Weights, c.Segment(r.world.Rank())); err != nil {
			return err
		}
		if err := engine.WaitFetched(r.dev); err != nil {
			return err
		}
		r.work <- func() (int, error) {
			return i, r.channel.AllGatherFloat32(context.Background(), r.values(r.params.Weights, c.Range), r.bounds(c))
		}
		pending++
		if err := r.collect(&pending, r.uploadWeights, false); err != nil {
			return err
		}
	}
	defer r.world.Pause()()
	return r.collect(&pending, r.uploadWeights, true)
}

// spread copies a buffer of all parameters from rank 0 to the others.
func (r *reducer) spread(ctx context.Context, b *engine.Buffer) error {
	return r.eachPiece(b, func(p nn.Range) error {
		values := r.values(b, p)
		if r.world.Rank() == 0 {
			if err := r.fetch(b, p); err != nil {
				return err
			}
			if err := engine.WaitFetched(r.dev); err != nil {
				return err
			}
		}
		if err := r.channel.ScatterGatherFloat32(ctx, 0, values); err != nil || r.world.Rank() == 0 {
			return err
		}
		return r.upload(b, p)
	})
}

// eachPiece calls f for ranges of a buffer, of at most a chunk's size, which are within one
// allocation.
func (r *reducer) eachPiece(b *engine.Buffer, f func(p nn.Range) error) error {
	size := chunkBytes(b.Bytes)
	for _, part := range b.Parts() {
		end := min(part.Offset+part.Bytes, b.Bytes)
		for at := part.Offset; at < end; at += size {
			if err := f(nn.Range{Offset: at, Bytes: min(size, end-at)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// values are the floats of a range of the gradients or weights on the host.
func (r *reducer) values(b *engine.Buffer, of nn.Range) []float32 {
	if r.mirror == nil {
		values, _ := engine.HostFloats(r.dev, b.View().Slice(of.Offset, of.Bytes))
		return values
	}
	return r.mirror[of.Offset/4:][:of.Bytes/4]
}

// fetch starts to copy a range to the host.
func (r *reducer) fetch(b *engine.Buffer, of nn.Range) error {
	if r.mirror == nil {
		return nil
	}
	return engine.FetchFloats(r.dev, b.View().Slice(of.Offset, of.Bytes), r.values(b, of))
}

// upload copies a range from the host.
func (r *reducer) upload(b *engine.Buffer, of nn.Range) error {
	if r.mirror == nil || of.Bytes == 0 {
		return nil
	}
	return engine.Upload(r.dev, b.View().Slice(of.Offset, of.Bytes), r.values(b, of))
}

// uploadReduced copies the sums that this rank's update reads to the device.
func (r *reducer) uploadReduced(chunk int) error {
	c := r.chunks[chunk]
	if r.sharded {
		return r.upload(r.params.Grads, c.Segment(r.world.Rank()))
	}
	return r.upload(r.params.Grads, c.Range)
}

// uploadWeights copies the weights of the other ranks' segments to the device.
func (r *reducer) uploadWeights(chunk int) error {
	r.params.WeightsWritten()
	for rank := range r.world.Size() {
		if rank == r.world.Rank() {
			continue
		}
		if err := r.upload(r.params.Weights, r.chunks[chunk].Segment(rank)); err != nil {
			return err
		}
	}
	return nil
}

// exchange is the goroutine that talks to the other ranks.
func (r *reducer) exchange() {
	defer close(r.ended)
	for f := range r.work {
		chunk, err := f()
		r.done <- reduced{chunk, err}
	}
}

// close ends the goroutine and releases memory.
func (r *reducer) close() {
	if r == nil {
		return
	}
	close(r.work)
	if r.world.Err() == nil { // else an exchange may never end
		<-r.ended
		r.host.Free()
	}
	engine.Free(r.memory)
}
