package hub

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// server is a hub with one repository, and with network faults.
type server struct {
	*httptest.Server
	kind   Kind
	name   string
	files  map[string][]byte
	large  map[string]bool // in large-file storage: requests are redirected to another host
	token  string          // required, if set
	noTree bool            // no listing with sizes and hashes, like some mirrors
	page   int             // entries per page of the listing; 0: all
	next   string          // origin of the listing's next page; "": the hub
	sha    string          // the commit that the hub reports

	entries []map[string]any // additional entries of the listing

	// fault, if set, may answer a request for a file instead of the storage.
	fault func(path string, w http.ResponseWriter, r *http.Request) (answered bool)

	hubFault func(w http.ResponseWriter, r *http.Request) (answered bool) // the same for the hub

	storage  *httptest.Server
	hashes   sync.Map // of the large files, by their memory
	mu       sync.Mutex
	ranges   []string // Range headers of the requests for files
	resolved int      // requests for files to the hub
	leaked   bool     // a token reached the storage
}

func newServer(t *testing.T, kind Kind, name string, files map[string][]byte, large ...string) *server {
	s := &server{kind: kind, name: name, files: files, large: map[string]bool{}, sha: commit}
	for _, l := range large {
		s.large[l] = true
	}
	mux := http.NewServeMux()
	prefix := "/api/" + string(kind) + "s/" + name
	mux.HandleFunc(prefix+"/revision/main", s.revision)
	mux.HandleFunc(prefix+"/revision/"+commit, s.revision)
	mux.HandleFunc(prefix+"/tree/"+commit, s.tree)
	mux.HandleFunc(prefix+"/tree/"+commit+"/", s.tree)
	root := "/" + name
	if kind == Dataset {
		root = "/datasets/" + name
	}
	mux.HandleFunc(root+"/resolve/"+commit+"/", s.resolve)
	s.Server = httptest.NewUnstartedServer(mux)
	s.storage = httptest.NewServer(http.HandlerFunc(s.content))
	// To a client, another name of the same machine is another host.
	s.storage.URL = strings.Replace(s.storage.URL, "127.0.0.1", "localhost", 1)
	s.Start()
	t.Cleanup(func() { s.Close(); s.storage.Close() })
	return s
}

func (s *server) client(t *testing.T) *Client {
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_TOKEN", s.token)
	t.Setenv("HF_TOKEN_PATH", "/nonexistent")
	c, err := NewClient()
	if err != nil {
		t.Fatal(err)
	}
	c.Pause, c.Idle = time.Millisecond, 300*time.Millisecond
	return c
}

func (s *server) allowed(w http.ResponseWriter, r *http.Request) bool {
	if s.token == "" || r.Header.Get("Authorization") == "Bearer "+s.token {
		return true
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func (s *server) names() []string {
	var names []string
	for n := range s.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (s *server) revision(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(w, r) {
		return
	}
	var siblings []map[string]string
	for _, n := range s.names() {
		siblings = append(siblings, map[string]string{"rfilename": n})
	}
	json.NewEncoder(w).Encode(map[string]any{"id": s.name, "sha": s.sha, "siblings": siblings})
}

func (s *server) hash(name string) string {
	if s.large[name] {
		at := unsafe.SliceData(s.files[name])
		if known, ok := s.hashes.Load(at); ok {
			return known.(string)
		}
		h := sha256.Sum256(s.files[name])
		s.hashes.Store(at, hex.EncodeToString(h[:]))
		return hex.EncodeToString(h[:])
	}
	h := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(s.files[name])), s.files[name]...))
	return hex.EncodeToString(h[:])
}

func (s *server) tree(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(w, r) {
		return
	}
	if s.noTree {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	entries := append([]map[string]any{{"type": "directory", "path": "folder", "oid": commit, "size": 0}}, s.entries...)
	entries, found := s.list(entries, strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/"+string(s.kind)+"s/"+s.name+"/tree/"+commit), "/"), r.URL.Query().Get("recursive") == "true")
	if !found {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := len(entries)
	if s.page > 0 && from+s.page < to {
		to = from + s.page
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=%s&cursor=%d>; rel="next"`, cmp.Or(s.next, s.URL), r.URL.Path, r.URL.Query().Get("recursive"), to))
	}
	json.NewEncoder(w).Encode(entries[from:to])
}

// list appends the entries of a folder, and reports whether it is there.
func (s *server) list(entries []map[string]any, folder string, recursive bool) ([]map[string]any, bool) {
	found, folders := folder == "", map[string]bool{}
	for _, n := range s.names() {
		below := n
		if folder != "" {
			var inside bool
			if below, inside = strings.CutPrefix(n, folder+"/"); !inside {
				continue
			}
		}
		found = true
		if sub, _, deeper := strings.Cut(below, "/"); deeper && !recursive {
			if at := path.Join(folder, sub); !folders[at] {
				folders[at] = true
				entries = append(entries, map[string]any{"type": "directory", "path": at, "oid": commit, "size": 0})
			}
			continue
		}
		e := map[string]any{"type": "file", "path": n, "size": len(s.files[n]), "oid": s.hash(n)}
		if s.large[n] {
			e["oid"], e["lfs"] = commit, map[string]any{"oid": s.hash(n), "size": len(s.files[n]), "pointerSize": 134}
		}
		entries = append(entries, e)
	}
	return entries, found
}

func (s *server) resolve(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(w, r) {
		return
	}
	s.mu.Lock()
	s.resolved++
	s.mu.Unlock()
	if s.hubFault != nil && s.hubFault(w, r) {
		return
	}
	_, name, _ := strings.Cut(r.URL.Path, "/resolve/"+commit+"/")
	if _, ok := s.files[name]; !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if s.large[name] {
		w.Header().Set("X-Linked-ETag", `"`+s.hash(name)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(s.files[name])))
		http.Redirect(w, r, s.storage.URL+"/"+url.PathEscape(name), http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+s.hash(name)+`"`)
	s.serve(name, w, r)
}

// content is the handler of the storage.
func (s *server) content(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.leaked = s.leaked || r.Header.Get("Authorization") != ""
	s.mu.Unlock()
	s.serve(strings.TrimPrefix(r.URL.Path, "/"), w, r)
}

func (s *server) serve(name string, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.mu.Lock()
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		if s.fault != nil && s.fault(name, w, r) {
			return
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.files[name]))
}
