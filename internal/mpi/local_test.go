package mpi

import (
	"context"
	"sync"
	"testing"

	"patchwork/internal/require"
)

// localTransport connects ranks that are goroutines of one process.
type localTransport struct {
	net  *localNet
	me   int
	dead bool // control messages are lost
}

type localNet struct {
	mu       sync.Mutex
	n        int
	waiting  map[[3]int][]*op // by sender, receiver and tag: sends or receives without a partner, oldest first
	handlers []func(from int, message []byte)
	early    []func() // control messages to ranks that have no handler yet
	aborted  []int
}

func (t *localTransport) rank() int                   { return t.me }
func (t *localTransport) size() int                   { return t.net.n }
func (t *localTransport) library() string             { return "test" }
func (t *localTransport) drain(context.Context) error { return nil }
func (t *localTransport) leave()                      {}
func (t *localTransport) exit(int)                    {}

func (t *localTransport) abort(code int) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.net.aborted = append(t.net.aborted, t.me)
}

func (t *localTransport) onControl(f func(from int, message []byte)) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.net.handlers[t.me] = f
}

func (t *localTransport) sendControl(to int, message []byte) {
	t.net.mu.Lock()
	f, dead := t.net.handlers[to], t.dead
	t.net.mu.Unlock()
	if f != nil && !dead {
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

// localWorlds are the worlds of n ranks in this process.
func localWorlds(t *testing.T, n int) []*World {
	net := &localNet{n: n, waiting: map[[3]int][]*op{}, handlers: make([]func(int, []byte), n)}
	worlds := make([]*World, n)
	eachRank(n, func(i int) {
		w, err := newWorld(t.Context(), &localTransport{net: net, me: i})
		require.NoError(t, err)
		worlds[i] = w
	})
	t.Cleanup(func() {
		for _, w := range worlds {
			close(w.closed)
		}
	})
	return worlds
}

// eachRank calls f for every rank at the same time.
func eachRank(n int, f func(rank int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
