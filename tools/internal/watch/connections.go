package watch

import (
	"net"
	"sync"
)

// mostConnections bounds what the page takes of the process' files, which the run's
// checkpoints need as well. A browser opens six.
const mostConnections = 64

// limited is a listener with a bound on open connections. One that comes beyond it takes
// the place of the oldest that is not being answered, so that whoever holds connections
// open keeps nobody out; where all are being answered it is closed itself.
type limited struct {
	net.Listener
	mu   sync.Mutex
	open []*connection // oldest first
}

// connection is one of a limited listener's.
type connection struct {
	net.Conn
	from    *limited
	answers int // requests that are being answered
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
		conn.Close() // nothing was said on it
	}
}

// admit returns nil where there is no room.
func (l *limited) admit(conn net.Conn) *connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= mostConnections && !l.evict() {
		return nil
	}
	c := &connection{Conn: conn, from: l}
	l.open = append(l.open, c)
	return c
}

// evict closes the oldest connection that nobody waits on.
func (l *limited) evict() bool {
	for i, c := range l.open {
		if c.answers == 0 {
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

// answering counts a request in until the returned function is called.
func (c *connection) answering() (done func()) {
	add := func(n int) {
		c.from.mu.Lock()
		c.answers += n
		c.from.mu.Unlock()
	}
	add(1)
	return func() { add(-1) }
}
