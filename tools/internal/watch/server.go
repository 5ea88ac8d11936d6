package watch

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patchwork/tools/internal/listen"
)

//go:embed page
var page embed.FS

// maxConnections bounds the page's share of the process's file descriptors, which the
// run's checkpoints need as well. A browser opens six connections.
const maxConnections = 64

// Listen serves a run at an address as returned by listen.Address.
func Listen(address string, r *Run) (*listen.Server, error) {
	return listen.Start(address, listen.Options{
		Handler: listen.Counted(readOnly(r.handler())), Connections: maxConnections,
		HeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, // responses are small
	})
}

// readOnly rejects all methods but GET and HEAD.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the page is read-only", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
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
