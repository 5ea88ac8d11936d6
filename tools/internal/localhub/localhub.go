// Package localhub is a hub on this machine that serves a folder as a data set, with the faults
// of a network. It is for tests and measurements.
package localhub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Repo is the name of the data set.
const Repo = "owner/name"

// Faults are the fractions of the requests for bytes of a file that fail in each way.
type Faults struct {
	Cut     float64 // the connection is lost midway
	Stall   float64 // the connection stays open without further bytes
	Error   float64 // status 503
	Limit   float64 // status 429 with a Retry-After of 50 ms
	Page    float64 // a web page with status 200
	Shifted float64 // another range
	Expired float64 // the storage refuses its address with status 403
}

// A Hub serves the files of a folder. Files are redirected to a second server, the storage,
// which is another host to a client and must not see the token.
type Hub struct {
	Endpoint string // for HF_ENDPOINT
	dir      string
	token    string // that requests must have; "": none

	hub, storage *httptest.Server

	mu       sync.Mutex
	faults   Faults
	down     bool
	random   *rand.Rand
	commits  []string // the last is main's
	hashes   map[string]string
	requests int
	bytes    int64
	leaked   bool
}

// Start starts a hub. Close must be called.
func Start(dir, token string) *Hub {
	h := &Hub{dir: dir, token: token, random: rand.New(rand.NewPCG(1, 2)), hashes: map[string]string{}}
	h.Commit()
	h.hub = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.storage = httptest.NewUnstartedServer(http.HandlerFunc(h.serveStorage))
	h.hub.Start()
	h.storage.Start()
	h.Endpoint = h.hub.URL
	return h
}

// Close stops the hub.
func (h *Hub) Close() {
	h.hub.CloseClientConnections()
	h.storage.CloseClientConnections()
	h.hub.Close()
	h.storage.Close()
}

// Commit moves main to a new commit, of the same files, and returns it.
func (h *Hub) Commit() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits = append(h.commits, fmt.Sprintf("%040x", len(h.commits)+1))
	return h.commits[len(h.commits)-1]
}

// SetFaults sets the faults from now on.
func (h *Hub) SetFaults(f Faults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = f
}

// SetDown makes every connection end at once, or work again.
func (h *Hub) SetDown(down bool) {
	h.mu.Lock()
	h.down = down
	h.mu.Unlock()
	if down {
		h.hub.CloseClientConnections()
		h.storage.CloseClientConnections()
	}
}

// Served returns the number of requests for bytes and of the bytes, and whether the storage saw
// a token.
func (h *Hub) Served() (requests int, bytes int64, leaked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests, h.bytes, h.leaked
}

// failing reports whether a request fails in a way that has the given probability.
func (h *Hub) failing(fraction func(Faults) float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := fraction(h.faults)
	return p > 0 && h.random.Float64() < p
}

func (h *Hub) dropIfDown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		panic(http.ErrAbortHandler)
	}
}

// serve is the hub: its API and its redirects to the storage.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.dropIfDown()
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	api, resolve := "/api/datasets/"+Repo+"/", "/datasets/"+Repo+"/resolve/"
	switch {
	case strings.HasPrefix(r.URL.Path, api+"revision/"):
		commit := h.commit(strings.TrimPrefix(r.URL.Path, api+"revision/"))
		if commit == "" {
			w.Header().Set("X-Error-Code", "RevisionNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"id": Repo, "sha": commit})
	case strings.HasPrefix(r.URL.Path, api+"tree/"):
		_, folder, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, api+"tree/"), "/")
		h.list(w, folder, r.URL.Query().Get("recursive") == "true")
	case strings.HasPrefix(r.URL.Path, resolve):
		revision, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, resolve), "/")
		h.redirect(w, r, revision, name)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// commit returns the commit of a revision, or "".
func (h *Hub) commit(revision string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.commits {
		if c == revision {
			return c
		}
	}
	if revision == "main" {
		return h.commits[len(h.commits)-1]
	}
	return ""
}

func (h *Hub) list(w http.ResponseWriter, folder string, recursive bool) {
	entries := []map[string]any{}
	root := filepath.Join(h.dir, filepath.FromSlash(folder))
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == root {
			return err
		}
		below, err := filepath.Rel(h.dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(below)
		if d.IsDir() {
			entries = append(entries, map[string]any{"type": "directory", "path": name, "oid": strings.Repeat("0", 40), "size": 0})
			if !recursive {
				return filepath.SkipDir
			}
			return nil
		}
		hash, size, err := h.hash(at)
		entries = append(entries, map[string]any{
			"type": "file", "path": name, "oid": strings.Repeat("0", 40), "size": size, "lfs": map[string]any{"oid": hash, "size": size},
		})
		return err
	})
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	json.NewEncoder(w).Encode(entries)
}

// hash returns the SHA-256 of a file.
func (h *Hub) hash(file string) (sum string, size int64, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", 0, err
	}
	version := fmt.Sprint(file, info.Size(), info.ModTime().UnixNano())
	h.mu.Lock()
	sum = h.hashes[version]
	h.mu.Unlock()
	if sum != "" {
		return sum, info.Size(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return "", 0, err
	}
	sum = hex.EncodeToString(digest.Sum(nil))
	h.mu.Lock()
	h.hashes[version] = sum
	h.mu.Unlock()
	return sum, info.Size(), nil
}

// redirect sends a client to the storage.
func (h *Hub) redirect(w http.ResponseWriter, r *http.Request, revision, name string) {
	commit := h.commit(revision)
	hash, size, err := h.hash(filepath.Join(h.dir, filepath.FromSlash(path.Clean("/"+name))))
	if commit == "" || err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("X-Linked-ETag", `"`+hash+`"`)
	w.Header().Set("X-Linked-Size", strconv.FormatInt(size, 10))
	if h.failing(func(f Faults) float64 { return f.Limit }) {
		w.Header().Set("Retry-After", "0.05")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	// To a client, another name of the same machine is another host.
	http.Redirect(w, r, strings.Replace(h.storage.URL, "127.0.0.1", "localhost", 1)+"/"+name, http.StatusFound)
}

// serveStorage serves the bytes of files, or fails to.
func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) {
	h.dropIfDown()
	h.mu.Lock()
	h.requests++
	h.leaked = h.leaked || r.Header.Get("Authorization") != ""
	h.mu.Unlock()
	name := filepath.Join(h.dir, filepath.FromSlash(path.Clean(r.URL.Path)))
	switch {
	case h.failing(func(f Faults) float64 { return f.Error }):
		w.WriteHeader(http.StatusServiceUnavailable)
	case h.failing(func(f Faults) float64 { return f.Expired }):
		w.WriteHeader(http.StatusForbidden)
	case h.failing(func(f Faults) float64 { return f.Page }):
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>log in</html>")
	case h.failing(func(f Faults) float64 { return f.Shifted }):
		r.Header.Set("Range", "bytes=1-100")
		http.ServeFile(&counter{w, h}, r, name)
	case h.failing(func(f Faults) float64 { return f.Stall }):
		http.ServeFile(&broken{counter{w, h}, r, true, h.share()}, r, name)
	case h.failing(func(f Faults) float64 { return f.Cut }):
		http.ServeFile(&broken{counter{w, h}, r, false, h.share()}, r, name)
	default:
		http.ServeFile(&counter{w, h}, r, name)
	}
}

// share is a random number of bytes after which a connection breaks.
func (h *Hub) share() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.random.IntN(200_000)
}

// counter counts the bytes of an answer.
type counter struct {
	http.ResponseWriter
	h *Hub
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.bytes += int64(n)
	return n, err
}

// broken is a connection that is lost, or stalls, after some bytes.
type broken struct {
	counter
	r     *http.Request
	stall bool
	left  int
}

func (b *broken) Write(p []byte) (int, error) {
	if len(p) <= b.left {
		b.left -= len(p)
		return b.counter.Write(p)
	}
	b.counter.Write(p[:b.left])
	b.ResponseWriter.(http.Flusher).Flush()
	if b.stall {
		select {
		case <-b.r.Context().Done():
		case <-time.After(5 * time.Minute):
		}
	}
	panic(http.ErrAbortHandler)
}
