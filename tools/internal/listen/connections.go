package listen

import (
	"net"
	"sync"
)

// limited is a listener with at most max connections open. A new one beyond the limit
// replaces the oldest idle one, so that clients that hold connections open do not lock
// others out; if all are active, the new one is closed.
type limited struct {
	net.Listener
	max  int
	mu   sync.Mutex
	open []*connection // oldest first
}

// connection is a connection of a limited listener.
type connection struct {
	net.Conn
	from   *limited
	active int // requests that are being answered
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		conn.Close() // no request was read yet
	}
}

// admit returns nil where no connection can be evicted.
func (l *limited) admit(conn net.Conn) *connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max && !l.evict() {
		return nil
	}
	c := &connection{Conn: conn, from: l}
	l.open = append(l.open, c)
	return c
}

// evict closes the oldest idle connection.
func (l *limited) evict() bool {
	for i, c := range l.open {
		if c.active == 0 {
			l.open = append(l.open[:i], l.open[i+1:]...)
			c.Conn.Close() // the server's read fails, and it closes the rest
			return true
		}
	}
	return false
}

func (c *connection) Close() error {
	l := c.from
	l.mu.Lock()
	for i, o := range l.open {
		if o == c {
			l.open = append(l.open[:i], l.open[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

// answering counts an active request until done is called.
func (c *connection) answering() (done func()) {
	add := func(n int) {
		c.from.mu.Lock()
		c.active += n
		c.from.mu.Unlock()
	}
	add(1)
	return func() { add(-1) }
}
