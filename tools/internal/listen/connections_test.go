package listen

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"
)

// sockets counts this process' open sockets.
func sockets(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

const maxConnections = 64

// start serves a page of some size.
func start(t *testing.T) *Server {
	t.Helper()
	page := []byte(strings.Repeat("page ", 10_000))
	s, err := Start("127.0.0.1:0", Options{
		Handler:     Counted(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })),
		Connections: maxConnections, HeaderTimeout: time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Second,
	})
	require.NoError(t, err)
	return s
}

// TestHeldConnections opens many connections that send nothing, send half a request or do
// not read the response: few file descriptors are in use, and another client gets through.
func TestHeldConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc")
	}
	const many = 200
	for _, c := range []struct{ name, sends string }{
		{"silent", ""},
		{"half a request", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"},
		{"kept alive", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"},
		{"reading no answer", strings.Repeat("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			defer s.Close()
			before := sockets(t)
			address := strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/")
			for range many {
				conn, err := net.Dial("tcp", address)
				require.NoError(t, err)
				defer conn.Close()
				conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				io.WriteString(conn, c.sends) // may be cut off
			}
			// A new connection is accepted before the oldest is closed, so that there may be one
			// too many for a moment. If the number never comes down, or no other client gets
			// through, the test runs into the timeout of go test.
			for sockets(t)-before-many > maxConnections {
				time.Sleep(20 * time.Millisecond)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Get(s.URL)
			for ; err != nil; answer, err = client.Get(s.URL) {
				time.Sleep(100 * time.Millisecond)
			}
			answer.Body.Close()
		})
	}
}

// TestSilentConnectionsEnd: a connection that sends nothing is closed.
func TestSilentConnectionsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a time limit")
	}
	s := start(t)
	defer s.Close()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/"))
	require.NoError(t, err)
	defer conn.Close()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("%v", err)
	}
	if s.http.ReadTimeout == 0 || s.http.WriteTimeout == 0 || s.http.IdleTimeout == 0 || s.http.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", s.http)
	}
}

// ask sends a request on a connection of its own; the error comes when it is answered.
func ask(s *Server) <-chan error {
	answered := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		answer, err := client.Get(s.URL)
		if err == nil {
			answer.Body.Close()
		}
		answered <- err
	}()
	return answered
}

// aWhile is long enough for a connection to arrive.
const aWhile = 100 * time.Millisecond

// TestBurst: more clients at once than there may be connections are all answered.
func TestBurst(t *testing.T) {
	s, err := Start("127.0.0.1:0", Options{Connections: 4, Handler: Counted(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Millisecond)
		io.WriteString(w, "page")
	}))})
	require.NoError(t, err)
	defer s.Close()
	var all []<-chan error
	for range 300 {
		all = append(all, ask(s))
	}
	for i, answered := range all {
		if err := <-answered; err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// single serves a page by one connection. before is called before each answer, after when it is in a buffer.
func single(t *testing.T, before, after func()) *Server {
	t.Helper()
	page := Counted(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		before()
		io.WriteString(w, "page")
	}))
	s, err := Start("127.0.0.1:0", Options{Connections: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.ServeHTTP(w, r)
		after()
	})})
	require.NoError(t, err)
	return s
}

// TestActive: a connection whose request is being answered, or whose answer has not been sent, is not given
// up for a new one, which waits; the server can be closed meanwhile.
func TestActive(t *testing.T) {
	for _, c := range []struct {
		name           string
		answered, shut bool // the first has its answer in a buffer; the server is closed before it ends
	}{{"all are active", false, false}, {"an answer is not sent", true, false}, {"closed meanwhile", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			begun, end := make(chan struct{}, 2), make(chan struct{})
			block := func() {
				begun <- struct{}{}
				<-end
			}
			before, after := block, func() {}
			if c.answered {
				before, after = after, before
			}
			s := single(t, before, after)
			defer s.Close()
			first := ask(s)
			<-begun
			second := ask(s)
			time.Sleep(aWhile)
			time.AfterFunc(aWhile, func() { close(end) })
			if c.shut {
				_ = s.Close() // the second has no answer
			}
			if err := <-first; err != nil {
				t.Errorf("the first: %v", err)
			}
			if err := <-second; (err != nil) != c.shut {
				t.Errorf("the second: %v", err)
			}
		})
	}
}
