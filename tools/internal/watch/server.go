package watch

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

//go:embed page
var page embed.FS

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

// Server serves a run's page.
type Server struct {
	URL   string
	Open  bool // other machines can reach it
	http  *http.Server
	ended chan struct{}
}

// Listen serves a run at an address as returned by Address.
func Listen(address string, r *Run) (*Server, error) {
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
		Handler:           counted(guard(names, r.handler())),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 30 * time.Second, // responses are small
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
	}
	go func() {
		defer close(s.ended)
		s.http.Serve(&limited{Listener: listener}) // until Close
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

type connectionKey struct{}

// counted marks the connections with active requests.
func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			defer c.answering()()
		}
		next.ServeHTTP(w, r)
	})
}

// guard rejects requests of other sites' scripts. A site whose name resolves to this
// machine (DNS rebinding) sends its own name as the host, so only IP addresses and the
// names of this machine are accepted.
func guard(names []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		switch {
		case !named(r.Host, names):
			http.Error(w, "unknown host; use the address that vlmtool printed", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the page is read-only", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func named(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	return err == nil || slices.Contains(names, host)
}

func (r *Run) handler() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("/api/run", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.runJSON()) })
	mux.HandleFunc("/api/curves", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.curvesJSON()) })
	mux.HandleFunc("/api/pictures/{key}", r.serveImage)
	mux.Handle("/metrics", promhttp.HandlerFor(r.registry(), promhttp.HandlerOpts{}))
	return mux
}

// runJSON is the response of /api/run.
type runJSON struct {
	Name        string       `json:"name"`
	Preset      string       `json:"preset"`
	Version     string       `json:"version"`
	Device      string       `json:"device"`
	DeviceName  string       `json:"device_name"`
	DeviceBytes int64        `json:"device_memory_bytes"` // 0 = unknown
	State       State        `json:"state"`
	Reasons     []Reason     `json:"bad_rows"`
	Events      []Event      `json:"events"`      // newest first
	Validations []Validation `json:"validations"` // newest first
}

func (r *Run) runJSON() runJSON {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.options
	out := runJSON{
		Name: o.Name, Preset: o.Preset, Version: o.Version,
		Device: o.Device.Device, DeviceName: o.Device.Name, DeviceBytes: o.Device.Memory, State: r.state, Reasons: r.sortedReasons(),
		Events: append([]Event{}, r.events...), Validations: append([]Validation{}, r.validations...),
	}
	slices.Reverse(out.Events)
	slices.Reverse(out.Validations)
	return out
}

// sortedReasons are the reasons, the most frequent first.
func (r *Run) sortedReasons() []Reason {
	all := []Reason{}
	for _, reason := range r.reasons {
		all = append(all, *reason)
	}
	slices.SortFunc(all, func(a, b Reason) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return all
}

func (r *Run) serveImage(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	png := r.images.data[req.PathValue("key")]
	r.mu.Unlock()
	if png == nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "max-age=86400, immutable") // the key is a hash of the content
	w.Write(png)                                                // an error means that the client has gone
}

func answer(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(data) // see serveImage
}
