package watch

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
)

// sockets counts this process' open sockets.
func sockets(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// TestHeldConnections: whoever opens many connections, says nothing on them, half a request
// or reads no answer, takes few of the process' files, and keeps nobody out for long.
func TestHeldConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc")
	}
	const many = 400
	for _, c := range []struct{ name, says string }{
		{"silent", ""},
		{"half a request", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"},
		{"kept alive", "GET /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"},
		{"reading no answer", strings.Repeat("GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := begin(3)
			s, err := Listen("127.0.0.1:0", r)
			must(t, err)
			defer s.Close()
			before := sockets(t)
			address := strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/")
			for range many {
				conn, err := net.DialTimeout("tcp", address, 5*time.Second)
				must(t, err)
				defer conn.Close()
				conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				io.WriteString(conn, c.says) // which may be cut
			}
			// A connection that waits is accepted before the oldest one is closed, so that for a moment
			// there may be one too many: what counts is that the number comes down.
			deadline := time.Now().Add(10 * time.Second)
			held := sockets(t) - before - many
			for held > mostConnections && time.Now().Before(deadline) {
				time.Sleep(20 * time.Millisecond)
				held = sockets(t) - before - many
			}
			if held > mostConnections {
				t.Errorf("%d connections are open here, want %d at the most", held, mostConnections)
			}
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			deadline = time.Now().Add(30 * time.Second)
			for {
				answer, err := client.Get(s.URL + "api/run")
				if err == nil {
					answer.Body.Close()
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("nobody else gets through: %v", err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}

// TestSilentConnectionsEnd: what is said too slowly is cut.
func TestSilentConnectionsEnd(t *testing.T) {
	r, _ := begin(3)
	s, err := Listen("127.0.0.1:0", r)
	must(t, err)
	defer s.Close()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/"))
	must(t, err)
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	start := time.Now()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if s.http.ReadTimeout == 0 || s.http.WriteTimeout == 0 || s.http.IdleTimeout == 0 || s.http.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", s.http)
	}
}
