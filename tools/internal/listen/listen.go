// Package listen serves HTTP to this machine and, where it is asked to, to others: connections are
// bounded and closed when they are idle or slow, and pages of other sites are refused.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Address completes the value of --listen, HOST:PORT, :PORT or PORT; without a host it is
// the loopback interface.
func Address(s string) (string, error) {
	if !strings.Contains(s, ":") {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return "", fmt.Errorf("%q is not an address; want one such as 127.0.0.1:8080", s)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Options are what a Server serves, and its limits.
type Options struct {
	Handler     http.Handler
	Connections int // open at a time
	// Refuse answers requests of other sites' scripts, with 403; nil: as text.
	Refuse func(w http.ResponseWriter, reason string)
	// HeaderTimeout limits the time of a request's head, ReadTimeout that of the request with its body,
	// WriteTimeout that of its answer; handlers may change the last two by http.ResponseController.
	HeaderTimeout, ReadTimeout, WriteTimeout time.Duration
}

// Server is a running server.
type Server struct {
	URL   string
	Open  bool // other machines can reach it
	http  *http.Server
	ended chan struct{}
}

// Start serves at an address as returned by Address.
func Start(address string, o Options) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	at := listener.Addr().(*net.TCPAddr)
	s := &Server{URL: "http://" + at.String() + "/", Open: !at.IP.IsLoopback(), ended: make(chan struct{})}
	if at.IP.IsUnspecified() {
		s.URL = fmt.Sprintf("http://127.0.0.1:%d/", at.Port)
	}
	names := []string{"localhost", strings.ToLower(host)}
	if own, err := os.Hostname(); err == nil && s.Open {
		names = append(names, strings.ToLower(own))
	}
	s.http = &http.Server{
		Handler:           readWhole(Guard(names, o.Refuse, o.Handler), o.WriteTimeout),
		ReadHeaderTimeout: o.HeaderTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, IdleTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
		ConnState: changed,
	}
	go func() {
		defer close(s.ended)
		s.http.Serve(newLimited(listener, o.Connections)) // until Close
	}()
	return s, nil
}

// Close stops serving; active requests have a second to end.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.ended
	return err
}

// maxRest is how much of a request is read that the handler has left unread.
const maxRest = 64 << 20 // bytes

// readWhole reads what the handler has left of a request: a client that sends all of it before it reads
// would find the connection closed, and never see why it was refused. One that asks first whether to send
// is only answered. The time to write begins after it.
func readWhole(next http.Handler, write time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if r.Header.Get("Expect") != "" {
			return
		}
		if n, _ := io.CopyN(io.Discard, r.Body, maxRest); n > 0 && write > 0 { // an error means that the client has gone
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(write))
		}
	})
}

type connectionKey struct{}

// Counted marks connections whose requests the handler answers, so that they are not closed for new
// ones.
func Counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Answering(r)
		next.ServeHTTP(w, r)
	})
}

// Answering marks the connection of a request until the answer has been sent: it is not closed for new
// ones.
func Answering(r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		c.enter(answering)
	}
}
