package listen

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// limited is a listener with at most max connections open. A new one beyond the limit replaces the
// oldest idle one, or the oldest whose request has been long in coming, so that clients that hold
// connections open do not lock others out; if there is neither, it waits.
type limited struct {
	net.Listener
	max     int
	mu      sync.Mutex
	changed *sync.Cond    // a connection is idle or closed, or the listener is
	open    []*connection // oldest first
	closed  bool
}

// connection is a connection of a limited listener.
type connection struct {
	net.Conn
	from  *limited
	state state
	since time.Time // of the state
}

// state is what a connection is for.
type state int

const (
	reading   state = iota // a request is expected, or comes
	answering              // the handler is at it, or its answer is being sent
	idle                   // an answer has been sent
)

// grace is the time that a request has to come before its connection may be closed for a new one.
const grace = time.Second

func newLimited(l net.Listener, most int) *limited {
	out := &limited{Listener: l, max: most}
	out.changed = sync.NewCond(&out.mu)
	return out
}

func (l *limited) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= l.max && !l.closed && !l.evict() {
		again := time.AfterFunc(grace/10, l.changed.Broadcast)
		l.changed.Wait()
		again.Stop()
	}
	if l.closed {
		conn.Close() // no request was read yet
		return nil, net.ErrClosed
	}
	c := &connection{Conn: conn, from: l, since: time.Now()}
	l.open = append(l.open, c)
	return c, nil
}

// evict closes a connection and reports whether there was one to close.
func (l *limited) evict() bool {
	for _, evictable := range []func(c *connection) bool{
		func(c *connection) bool { return c.state == idle },
		func(c *connection) bool { return c.state == reading && time.Since(c.since) > grace },
	} {
		if i := slices.IndexFunc(l.open, evictable); i >= 0 {
			c := l.open[i]
			l.remove(c)
			c.Conn.Close() // the server's read fails, and it closes the rest
			return true
		}
	}
	return false
}

func (l *limited) remove(c *connection) {
	l.open = slices.DeleteFunc(l.open, func(o *connection) bool { return o == c })
}

func (l *limited) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.changed.Broadcast()
	return l.Listener.Close()
}

func (c *connection) Close() error {
	c.from.mu.Lock()
	c.from.remove(c)
	c.from.mu.Unlock()
	c.from.changed.Broadcast()
	return c.Conn.Close()
}

// CloseWrite lets a client read an answer that was sent before its request was read whole.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *connection) enter(s state) {
	c.from.mu.Lock()
	c.state, c.since = s, time.Now()
	c.from.mu.Unlock()
	c.from.changed.Broadcast()
}

// changed is called when the server's view of a connection changes: it is idle when the answer has been
// sent, which is after the handler has returned.
func changed(conn net.Conn, s http.ConnState) {
	c, ok := conn.(*connection)
	switch {
	case !ok:
	case s == http.StateActive:
		c.enter(reading)
	case s == http.StateIdle:
		c.enter(idle)
	}
}
