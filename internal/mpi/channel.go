package mpi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Channel is a stream of messages; see World.Channel. A nil Channel is that of a world of one. If
// a method returns an error, the ranks no longer agree on what the stream's next message is, and
// all later calls fail.
type Channel struct {
	world *World
	tag   int
	err   error // of an earlier call

	scratch []float32 // parts of other ranks, reused
}

// maxMessage is the largest number of bytes of one MPI message. MPI counts with 32 bits, and
// smaller messages let other streams go between. It is a variable for tests.
var maxMessage = 64 << 20

// A message of unknown size begins with a frame: its length, and as much of it as fits.
const (
	frameHeader = 8
	frameBytes  = 4096
)

// Size is the number of ranks.
func (c *Channel) Size() int {
	if c == nil {
		return 1
	}
	return c.world.size
}

// Rank is this process's rank.
func (c *Channel) Rank() int {
	if c == nil {
		return 0
	}
	return c.world.rank
}

// AllGather returns the bytes of every rank, in the order of ranks.
func (c *Channel) AllGather(ctx context.Context, mine []byte) ([][]byte, error) {
	to := make([][]byte, c.Size())
	for i := range to {
		to[i] = mine
	}
	return c.AllToAll(ctx, to)
}

// AllToAll sends to[i] to rank i, and returns what every rank sent to this one, in the order of
// ranks. Lengths may differ and be 0.
func (c *Channel) AllToAll(ctx context.Context, to [][]byte) ([][]byte, error) {
	if len(to) != c.Size() {
		return nil, fmt.Errorf("mpi: messages for %d ranks, but there are %d", len(to), c.Size())
	}
	if c == nil {
		return [][]byte{to[0]}, nil
	}
	b := c.batch()
	for i := range c.others() {
		b.sendAny(i, to[i])
	}
	return b.receiveAny(ctx, to[c.world.rank], c.everyOther())
}

// Broadcast returns the data of the root rank on all ranks; the others' data are not used.
func (c *Channel) Broadcast(ctx context.Context, root int, data []byte) ([]byte, error) {
	if root < 0 || root >= c.Size() {
		return nil, fmt.Errorf("mpi: broadcast from rank %d of %d", root, c.Size())
	}
	if c == nil {
		return data, nil
	}
	b := c.batch()
	if c.world.rank == root {
		for i := range c.others() {
			b.sendAny(i, data)
		}
		return data, b.wait(ctx)
	}
	all, err := b.receiveAny(ctx, nil, []int{root})
	if err != nil {
		return nil, err
	}
	return all[root], nil
}

// Gather returns the data of every rank on the root rank, in the order of ranks, and nil on the
// others.
func (c *Channel) Gather(ctx context.Context, root int, mine []byte) ([][]byte, error) {
	if c == nil {
		return [][]byte{mine}, nil
	}
	b := c.batch()
	if c.world.rank != root {
		b.sendAny(root, mine)
		return nil, b.wait(ctx)
	}
	return b.receiveAny(ctx, mine, c.everyOther())
}

// others iterates over the other ranks, beginning with the next one, so that not all ranks send to
// the same one first.
func (c *Channel) others() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := 1; i < c.world.size; i++ {
			if !yield((c.world.rank + i) % c.world.size) {
				return
			}
		}
	}
}

func (c *Channel) everyOther() (ranks []int) {
	for i := range c.others() {
		ranks = append(ranks, i)
	}
	return ranks
}

// batch is a set of operations of a channel that are waited for together.
type batch struct {
	channel *Channel
	queued  []*op
	running int

	mu    sync.Mutex
	ended []*op         // and not handled yet
	some  chan struct{} // of capacity 1: there may be some in ended
}

func (c *Channel) batch() *batch { return &batch{channel: c, some: make(chan struct{}, 1)} }

func (b *batch) add(send bool, peer int, buf []byte) {
	for first := true; first || len(buf) > 0; first = false {
		n := min(len(buf), maxMessage)
		b.queued = append(b.queued, &op{send: send, peer: peer, tag: b.channel.tag, buf: buf[:n:n], want: n})
		buf = buf[n:]
	}
}

// send sends a message whose size the receiver knows, and receive receives one.
func (b *batch) send(peer int, buf []byte)    { b.add(true, peer, buf) }
func (b *batch) receive(peer int, buf []byte) { b.add(false, peer, buf) }

// sendAny sends a message of any size.
func (b *batch) sendAny(peer int, data []byte) {
	inline := min(len(data), frameBytes-frameHeader)
	frame := append(binary.LittleEndian.AppendUint64(nil, uint64(len(data))), data[:inline]...)
	b.queued = append(b.queued, &op{send: true, peer: peer, tag: b.channel.tag, buf: frame})
	if inline < len(data) {
		b.send(peer, data[inline:])
	}
}

// receiveAny receives messages of any size from ranks. The result is by rank, with mine for this
// one.
func (b *batch) receiveAny(ctx context.Context, mine []byte, ranks []int) ([][]byte, error) {
	c := b.channel
	all := make([][]byte, c.world.size)
	all[c.world.rank] = mine
	frames := map[int]*op{}
	for _, i := range ranks {
		frames[i] = &op{peer: i, tag: c.tag, buf: make([]byte, frameBytes), want: -1}
		b.queued = append(b.queued, frames[i])
	}
	b.launch()
	waiting := len(ranks)
	err := b.each(ctx, func(o *op) error {
		if o != frames[o.peer] {
			return nil
		}
		waiting--
		length := uint64(0)
		if o.n >= frameHeader {
			length = binary.LittleEndian.Uint64(o.buf)
		}
		inline := min(length, frameBytes-frameHeader)
		if o.n != frameHeader+int(inline) || length > maxBytes {
			return errOutOfStep
		}
		all[o.peer] = make([]byte, length)
		copy(all[o.peer], o.buf[frameHeader:o.n])
		if inline < length {
			b.receive(o.peer, all[o.peer][inline:])
			b.launch()
		}
		return nil
	})
	return all, err
}

// maxBytes limits the length that a message may announce.
const maxBytes = 1 << 40

// errOutOfStep reports ranks that do not call the same methods in the same order.
var errOutOfStep = errors.New("the ranks are out of step: a message of another size was expected")

// launch starts the queued operations.
func (b *batch) launch() {
	if len(b.queued) == 0 || b.channel.err != nil {
		return
	}
	for _, o := range b.queued {
		o.end = b.end
	}
	b.running += len(b.queued)
	b.channel.world.transport.start(b.queued)
	b.queued = nil
}

// end notes that an operation has ended.
func (b *batch) end(o *op) {
	b.mu.Lock()
	b.ended = append(b.ended, o)
	b.mu.Unlock()
	select {
	case b.some <- struct{}{}:
	default:
	}
}

func (b *batch) take() (ended []*op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended, b.ended = b.ended, nil
	return ended
}

// wait starts what is queued and waits for everything.
func (b *batch) wait(ctx context.Context) error {
	b.launch()
	return b.each(ctx, func(*op) error { return nil })
}

// each calls use for every operation that ends, until none is left.
func (b *batch) each(ctx context.Context, use func(o *op) error) error {
	c := b.channel
	if c.err != nil {
		return c.err
	}
	if c.tag == firstTag {
		defer c.world.Pause()()
	}
	for b.running > 0 {
		select {
		case <-b.some:
			for _, o := range b.take() {
				b.running--
				if c.err = b.check(o); c.err == nil {
					c.err = use(o)
				}
				if c.err != nil {
					return c.err
				}
			}
		case <-ctx.Done():
			c.err = ctx.Err()
			return c.err
		case <-c.world.failed:
			c.err = c.world.Err()
			return c.err
		}
	}
	return nil
}

// check returns the error of an operation that has ended.
func (b *batch) check(o *op) error {
	w := b.channel.world
	if o.err != nil {
		w.Fail(fmt.Errorf("lost the connection to rank %d (%s): %w", o.peer, w.Host(o.peer), o.err))
		return w.Err()
	}
	if !o.send && o.want >= 0 && o.n != o.want {
		return errOutOfStep
	}
	return nil
}
