package listen

import (
	"net"
	"net/http"
	"sync"
)

// limited is a listener with at most max connections open. A new one beyond the limit replaces the
// oldest idle one, so that clients that hold connections open do not lock others out; if all are being
// answered, it waits.
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
	from   *limited
	active bool // a request is being answered
}

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
		l.changed.Wait()
	}
	if l.closed {
		conn.Close() // no request was read yet
		return nil, net.ErrClosed
	}
	c := &connection{Conn: conn, from: l}
	l.open = append(l.open, c)
	return c, nil
}

// evict closes the oldest idle connection and reports whether there was one.
func (l *limited) evict() bool {
	for _, c := range l.open {
		if !c.active {
			l.remove(c)
			c.Conn.Close() // the server's read fails, and it closes the rest
			return true
		}
	}
	return false
}

func (l *limited) remove(c *connection) {
	for i, o := range l.open {
		if o == c {
			l.open = append(l.open[:i], l.open[i+1:]...)
			return
		}
	}
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

// setActive says whether a request is being answered.
func (c *connection) setActive(active bool) {
	c.from.mu.Lock()
	c.active = active
	c.from.mu.Unlock()
	c.from.changed.Broadcast()
}

// idle is called when the state of a connection changes: it is idle when the answer has been sent, which
// is after the handler has returned.
func idle(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*connection); ok && state == http.StateIdle {
		c.setActive(false)
	}
}
