package mpi

import (
	"context"
	"fmt"
	"unsafe"
)

// SumFloat32 adds the data of all ranks, element by element, and leaves the sums in data on every
// rank. Every element is summed in the order of ranks, by one of them: the result has the same
// bits on all ranks and in every run. On several machines with several ranks each, the sums of
// the machines are added. All ranks give the same number of elements.
func (c *Channel) SumFloat32(ctx context.Context, data []float32) error {
	bounds := Bounds(len(data), c.Size())
	if err := c.ReduceScatter(ctx, data, bounds); err != nil {
		return err
	}
	return c.AllGatherFloat32(ctx, data, bounds)
}

// Bounds divides n elements evenly over ranks: rank i has those from bounds[i] to bounds[i+1].
func Bounds(n, ranks int) []int {
	bounds := make([]int, ranks+1)
	for i := range bounds {
		bounds[i] = n * i / ranks
	}
	return bounds
}

// ReduceScatter sums, in the order of ranks, the elements from bounds[r] to bounds[r+1] on rank r
// and leaves the sums there in data; the other elements of data stay as they were.
func (c *Channel) ReduceScatter(ctx context.Context, data []float32, bounds []int) error {
	if err := c.checkBounds(data, bounds); err != nil || c == nil {
		return err
	}
	if c.world.machines != nil {
		return c.reduceScatterHosts(ctx, data, bounds)
	}
	rank := c.world.rank
	mine := data[bounds[rank]:bounds[rank+1]]
	parts := make([][]float32, c.world.size)
	free := c.floats(len(mine) * (c.world.size - 1))
	b := c.batch()
	for i := range c.others() {
		parts[i], free = free[:len(mine)], free[len(mine):]
		b.receive(i, bytesOf(parts[i]))
	}
	for i := range c.others() {
		b.send(i, bytesOf(data[bounds[i]:bounds[i+1]]))
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	parts[rank] = mine
	sum(mine, parts)
	return nil
}

// AllGatherFloat32 sends the elements of data from bounds[r] to bounds[r+1] from rank r to all
// others.
func (c *Channel) AllGatherFloat32(ctx context.Context, data []float32, bounds []int) error {
	if err := c.checkBounds(data, bounds); err != nil || c == nil {
		return err
	}
	if c.world.machines != nil {
		return c.allGatherHosts(ctx, data, bounds)
	}
	b := c.batch()
	for i := range c.others() {
		b.receive(i, bytesOf(data[bounds[i]:bounds[i+1]]))
	}
	for i := range c.others() {
		b.send(i, bytesOf(data[bounds[c.world.rank]:bounds[c.world.rank+1]]))
	}
	return b.wait(ctx)
}

// GatherFloat32 receives every rank's mine on the root rank, in all: rank r's from bounds[r] to
// bounds[r+1]. all is not used on the other ranks, and mine not on the root.
func (c *Channel) GatherFloat32(ctx context.Context, root int, mine, all []float32, bounds []int) error {
	if c == nil {
		return nil
	}
	b := c.batch()
	if c.world.rank != root {
		b.send(root, bytesOf(mine))
		return b.wait(ctx)
	}
	if err := c.checkBounds(all, bounds); err != nil {
		return err
	}
	for i := range c.others() {
		b.receive(i, bytesOf(all[bounds[i]:bounds[i+1]]))
	}
	return b.wait(ctx)
}

// ScatterFloat32 sends, from the root rank, all from bounds[r] to bounds[r+1] to rank r, which
// receives it in mine. all is not used on the other ranks, and mine not on the root.
func (c *Channel) ScatterFloat32(ctx context.Context, root int, all, mine []float32, bounds []int) error {
	if c == nil {
		return nil
	}
	b := c.batch()
	if c.world.rank != root {
		b.receive(root, bytesOf(mine))
		return b.wait(ctx)
	}
	if err := c.checkBounds(all, bounds); err != nil {
		return err
	}
	for i := range c.others() {
		b.send(i, bytesOf(all[bounds[i]:bounds[i+1]]))
	}
	return b.wait(ctx)
}

// ScatterGatherFloat32 makes data that of the root rank on all ranks. All ranks give the same
// number of elements. Unlike with Broadcast, the root sends them only once, divided among the
// others, which pass them on.
func (c *Channel) ScatterGatherFloat32(ctx context.Context, root int, data []float32) error {
	if root < 0 || root >= c.Size() {
		return fmt.Errorf("mpi: data from rank %d of %d", root, c.Size())
	}
	if c == nil {
		return nil
	}
	bounds := Bounds(len(data), c.world.size)
	b := c.batch()
	if c.world.rank == root {
		for i := range c.others() {
			b.send(i, bytesOf(data[bounds[i]:bounds[i+1]]))
		}
	} else {
		b.receive(root, bytesOf(data[bounds[c.world.rank]:bounds[c.world.rank+1]]))
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	return c.AllGatherFloat32(ctx, data, bounds)
}

// floats returns n floats, which are used again by the next call.
func (c *Channel) floats(n int) []float32 {
	if cap(c.scratch) < n {
		c.scratch = make([]float32, n)
	}
	return c.scratch[:n]
}

func (c *Channel) checkBounds(data []float32, bounds []int) error {
	ok := len(bounds) == c.Size()+1 && bounds[0] >= 0 && bounds[len(bounds)-1] <= len(data)
	for i := 1; ok && i < len(bounds); i++ {
		ok = bounds[i-1] <= bounds[i]
	}
	if !ok {
		return fmt.Errorf("mpi: bounds %v do not divide %d elements over %d ranks", bounds, len(data), c.Size())
	}
	return nil
}

// sumBlock is how many elements are summed at a time, so that they stay in the cache.
const sumBlock = 4096

// sum adds the parts in their order. One of them may be the result.
func sum(result []float32, parts [][]float32) {
	var block [sumBlock]float32
	for at := 0; at < len(result); at += sumBlock {
		n := min(sumBlock, len(result)-at)
		acc := block[:n]
		copy(acc, parts[0][at:])
		for _, p := range parts[1:] {
			add(acc, p[at:at+n])
		}
		copy(result[at:], acc)
	}
}

func add(acc, x []float32) {
	x = x[:len(acc)]
	i := 0
	for ; i+4 <= len(acc); i += 4 {
		a, b := acc[i:i+4:i+4], x[i:i+4:i+4]
		a[0] += b[0]
		a[1] += b[1]
		a[2] += b[2]
		a[3] += b[3]
	}
	for ; i < len(acc); i++ {
		acc[i] += x[i]
	}
}

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
