package mpi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Local returns the worlds of n ranks that are goroutines of this process, for tests. They end with
// ctx. Close does not end the process, unless the job has failed.
func Local(ctx context.Context, n int) ([]*World, error) {
	net := &localNet{n: n, waiting: map[[3]int][]*op{}, handlers: make([]func(int, []byte), n)}
	worlds, errs := make([]*World, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { worlds[i], errs[i] = newWorld(ctx, &localTransport{net: net, me: i}) })
	}
	all.Wait()
	context.AfterFunc(ctx, func() {
		for _, w := range worlds {
			if w != nil {
				w.end()
			}
		}
	})
	return worlds, errors.Join(errs...)
}

// localTransport connects ranks that are goroutines of one process.
type localTransport struct {
	net  *localNet
	me   int
	dead atomic.Bool // control messages are lost
}

type localNet struct {
	mu       sync.Mutex
	n        int
	waiting  map[[3]int][]*op // by sender, receiver and tag: sends or receives without a partner, oldest first
	handlers []func(from int, message []byte)
}

func (t *localTransport) rank() int                   { return t.me }
func (t *localTransport) size() int                   { return t.net.n }
func (t *localTransport) library() string             { return "test" }
func (t *localTransport) drain(context.Context) error { return nil }
func (t *localTransport) leave()                      {}
func (t *localTransport) exit(int)                    {}
func (t *localTransport) abort(int)                   {}

func (t *localTransport) onControl(f func(from int, message []byte)) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.net.handlers[t.me] = f
}

func (t *localTransport) sendControl(to int, message []byte) {
	t.net.mu.Lock()
	f := t.net.handlers[to]
	t.net.mu.Unlock()
	if f != nil && !t.dead.Load() {
		go f(t.me, message)
	}
}

func (t *localTransport) start(ops []*op) {
	for _, o := range ops {
		t.net.match(t.me, o)
	}
}

// match pairs an operation with its oldest partner, or keeps it.
func (n *localNet) match(me int, o *op) {
	key := [3]int{o.peer, me, o.tag}
	if o.send {
		key = [3]int{me, o.peer, o.tag}
	}
	n.mu.Lock()
	queue := n.waiting[key]
	if len(queue) == 0 || queue[0].send == o.send {
		n.waiting[key] = append(queue, o)
		n.mu.Unlock()
		return
	}
	n.waiting[key] = queue[1:]
	n.mu.Unlock()
	from, to := o, queue[0]
	if to.send {
		from, to = to, from
	}
	to.n = copy(to.buf, from.buf)
	from.end(from)
	to.end(to)
}
