package hub

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"patchwork/internal/require"
)

const (
	shard      = "config/train-00000-of-00002.parquet"
	plainShard = "plain/x.parquet" // in the repository itself, not in the large-file storage
)

func datasetFiles() map[string][]byte {
	return map[string][]byte{
		shard: random(300_000), "config/train-00001-of-00002.parquet": random(120_000), "config/.hidden.parquet": random(10),
		"mixed/train-0.parquet": random(50), "mixed/test-0.parquet": random(60),
		"one/two/x.parquet": random(70), plainShard: random(300_000), "README.md": []byte("# data"),
	}
}

// streamTest is a stream with small blocks, and what it reported.
type streamTest struct {
	*Stream
	mu           sync.Mutex
	warns, notes []string
}

func (s *streamTest) reported(list *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*list)
}

func openStream(t *testing.T, s *server, change func(o *StreamOptions)) *streamTest {
	t.Helper()
	st := &streamTest{}
	collect := func(list *[]string) func(string) {
		return func(line string) {
			st.mu.Lock()
			defer st.mu.Unlock()
			*list = append(*list, line)
		}
	}
	o := StreamOptions{
		CacheDir: filepath.Join(t.TempDir(), "cache"), CacheBytes: 1 << 30, Timeout: 20 * time.Second,
		Warn: collect(&st.warns), Note: collect(&st.notes),
	}
	if change != nil {
		change(&o)
	}
	st.Stream = s.client(t).NewStream(t.Context(), o)
	st.blockSize, st.headSize, st.tailSize = 64<<10, 1000, 5000
	t.Cleanup(func() { st.Close() })
	return st
}

// newDataset is a server whose shards are in its large-file storage.
func newDataset(t *testing.T) *server {
	return newServer(t, Dataset, "owner/name", datasetFiles(), shard, "config/train-00001-of-00002.parquet")
}

const dataset = "hf://datasets/owner/name/"

func (st *streamTest) open(t *testing.T, path string) *RemoteReader {
	t.Helper()
	files, err := st.Resolve(t.Context(), []string{dataset + path})
	require.NoError(t, err)
	return require.Value(files[0].Open(t.Context()))(t)
}

func readAll(r *RemoteReader) ([]byte, error) { return io.ReadAll(io.NewSectionReader(r, 0, r.Size())) }

func checkRead(t *testing.T, r *RemoteReader, want []byte) {
	t.Helper()
	if got, err := readAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
}

// settled waits until nothing is on its way to memory or disk.
func (st *streamTest) settled(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st.blocks.mu.Lock()
		n := len(st.blocks.pending) + st.blocks.workers
		st.blocks.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d blocks and workers are still there", n)
		}
	}
}

// Every byte is downloaded once, however it is read, and again from the cache; the token stays
// with the hub, which is asked once.
func TestStream(t *testing.T) {
	s := newDataset(t)
	s.token = "hf_secret"
	dir := filepath.Join(t.TempDir(), "cache")
	for _, cold := range []bool{true, false} {
		st := openStream(t, s, func(o *StreamOptions) { o.CacheDir = dir })
		r := st.open(t, shard)
		if r.Size() != 300_000 || r.Version() != s.hash(shard) || r.file.Name() != "hf://datasets/owner/name@"+commit+"/"+shard {
			t.Errorf("%d bytes, version %s, name %s", r.Size(), r.Version(), r.file.Name())
		}
		var g errgroup.Group
		for seed := range uint64(8) {
			g.Go(func() error {
				random := rand.New(rand.NewPCG(seed, 0))
				for range 100 {
					from := random.IntN(300_000)
					p := make([]byte, random.IntN(200_000))
					n, err := r.ReadAt(p, int64(from))
					end := min(from+len(p), 300_000)
					if (err == io.EOF) != (from+len(p) > 300_000) || err != nil && err != io.EOF || !bytes.Equal(p[:n], s.files[shard][from:end]) {
						return fmt.Errorf("%d bytes at %d: %d, %v", len(p), from, n, err)
					}
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		checkRead(t, r, s.files[shard])
		if n, err := r.ReadAt(make([]byte, 1), 300_000); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		st.settled(t)
		stats := st.Stats()
		if cold && stats.Downloaded != 300_000 || !cold && (stats.Downloaded != 0 || stats.Requests != 0 || stats.Cached != 300_000) {
			t.Errorf("cold %v: %+v", cold, stats)
		}
		st.Close()
	}
	if s.leaked {
		t.Error("the token was sent to the storage")
	}
	if s.resolved < 1 || s.resolved > DefaultConnections {
		t.Errorf("the hub was asked %d times for the file", s.resolved)
	}
}

func TestStreamResolve(t *testing.T) {
	s := newDataset(t)
	c0, c1 := "config/train-00000-of-00002.parquet", "config/train-00001-of-00002.parquet"
	for _, c := range []struct {
		refs []string
		want []string
		err  string
	}{
		{[]string{"config"}, []string{c0, c1}, ""},
		{[]string{"config/"}, []string{c0, c1}, ""},
		{[]string{c1, c0, "config"}, []string{c0, c1}, ""},
		{[]string{"config/*-00001-*"}, []string{c1}, ""},
		{[]string{"*/two/*.parquet"}, []string{"one/two/x.parquet"}, ""},
		{[]string{"mixed/test-*", "one/two"}, []string{"mixed/test-0.parquet", "one/two/x.parquet"}, ""},
		{[]string{"README.md"}, []string{"README.md"}, ""},
		{[]string{"mixed"}, nil, "contains the splits test and train; name one of them, for example mixed/train-*.parquet"},
		{[]string{""}, nil, "no *.parquet in this folder; it has: README.md, config/"},
		{[]string{"one"}, nil, "no *.parquet in this folder; it has: folder/, one/two/"},
		{[]string{"confg"}, nil, "no such file or folder; the hub has there: README.md, config/"},
		{[]string{"config/nothing.parquet"}, nil, "no such file or folder; the hub has there: config/"},
		{[]string{"config/val-*"}, nil, "no file matches; the hub has there: config/"},
		{[]string{"no/such/folder"}, nil, "not found"},
	} {
		for _, plain := range []bool{false, true} {
			s.noTree = plain // a mirror without listings
			st := openStream(t, s, func(o *StreamOptions) {
				o.Splits = func(names []string) []string {
					if slices.Contains(names, "test-0.parquet") && slices.Contains(names, "train-0.parquet") {
						return []string{"test", "train"}
					}
					return nil
				}
			})
			var refs, got []string
			for _, r := range c.refs {
				refs = append(refs, dataset+r)
			}
			files, err := st.Resolve(t.Context(), refs)
			for _, f := range files {
				got = append(got, strings.TrimPrefix(f.Name(), "hf://datasets/owner/name@"+commit+"/"))
				if f.file.Size != int64(len(s.files[f.file.Path])) || f.file.version(f.repo) != s.hash(f.file.Path) {
					t.Errorf("%+v", f.file)
				}
			}
			want := c.err
			if plain {
				want = strings.ReplaceAll(want, "folder/, ", "")
			}
			if !slices.Equal(got, c.want) || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %q, %v; want %q, %q", c.refs, got, err, c.want, want)
			}
		}
	}
}

// Faults of the network, the hub and its storage are retried until every byte is right.
func TestStreamRetry(t *testing.T) {
	type handler = func(s *server, w http.ResponseWriter, r *http.Request) bool
	status := func(code int, headers ...string) handler {
		return func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	partial := func(length int, contentRange string, body func(s *server) []byte) handler {
		return func(s *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", contentRange)
			w.Header().Set("Content-Length", fmt.Sprint(length))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body(s))
			w.(http.Flusher).Flush()
			return true
		}
	}
	start := func(n int) func(s *server) []byte { return func(s *server) []byte { return s.files[shard][:n] } }
	for _, c := range []struct {
		name   string
		faults int  // 0: one, from which the next request resumes
		hub    bool // the fault is the hub's, not the storage's
		fault  handler
	}{
		{"cut at once", 4, false, func(*server, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }},
		{"cut midway", 0, false, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			partial(1000, "bytes 0-999/300000", start(400))(s, w, r)
			panic(http.ErrAbortHandler)
		}},
		{"stalled", 0, false, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			partial(1000, "bytes 0-999/300000", start(400))(s, w, r)
			<-r.Context().Done()
			return true
		}},
		{"a trickle", 0, false, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			partial(1000, "bytes 0-999/300000", start(1))(s, w, r)
			for i := 1; i < 900 && r.Context().Err() == nil; i++ {
				w.Write(s.files[shard][i : i+1])
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
			return true
		}},
		{"fewer bytes than asked for", 0, false, partial(400, "bytes 0-399/300000", start(400))},
		{"rate limit", 2, true, status(429, "Retry-After", "0.02")},
		{"rate limit of the storage", 2, false, status(429, "Retry-After", "0.02")},
		{"server error", 4, true, status(503)},
		{"server error of the storage", 4, false, status(500)},
		{"an expired address", 1, false, status(403)},
		{"a web page", 2, false, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html>log in</html>")
			return true
		}},
		{"the whole file", 2, false, func(s *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Write(s.files[shard])
			return true
		}},
		{"another range", 2, false, partial(1000, "bytes 1000-1999/300000", start(1000))},
		{"a longer range", 2, false, partial(2000, "bytes 0-1999/300000", start(2000))},
		{"no range", 2, false, partial(1000, "", start(1000))},
		{"another size", 2, false, partial(1000, "bytes 0-999/300001", start(1000))},
		{"another version", 2, true, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("ETag", `"`+strings.Repeat("a", 40)+`"`)
			return partial(1000, "bytes 0-999/300000", start(1000))(s, w, r)
		}},
		{"another commit", 2, true, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Repo-Commit", strings.Repeat("a", 40))
			return partial(1000, "bytes 0-999/300000", start(1000))(s, w, r)
		}},
		{"compressed", 2, false, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			return partial(1000, "bytes 0-999/300000", start(1000))(s, w, r)
		}},
		{"the file is too short", 2, false, status(416)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newDataset(t)
			var mu sync.Mutex
			times := 0
			once := func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "bytes=0-999" { // the first block's, whatever else is read at the same time
					return false
				}
				mu.Lock()
				times++
				now := times
				mu.Unlock()
				return now <= max(1, c.faults) && c.fault(s, w, r)
			}
			file := shard
			s.fault = func(path string, w http.ResponseWriter, r *http.Request) bool { return path == shard && once(w, r) }
			if c.hub {
				file, s.fault, s.hubFault = plainShard, nil, once
			}
			st := openStreamParallel(t, s)
			checkRead(t, st.open(t, file), s.files[file])
			if want := c.faults + 1; times != want {
				t.Errorf("%d requests for the first block, want %d", times, want)
			}
		})
	}
}

// What does not pass ends with one line that says what to do.
func TestStreamErrors(t *testing.T) {
	always := func(code int, header ...string) func(s *server) {
		return func(s *server) {
			s.hubFault = func(w http.ResponseWriter, r *http.Request) bool {
				if len(header) > 0 {
					w.Header().Set(header[0], header[1])
				}
				w.WriteHeader(code)
				return true
			}
		}
	}
	storage := func(h func(s *server, w http.ResponseWriter, r *http.Request)) func(s *server) {
		return func(s *server) {
			s.fault = func(_ string, w http.ResponseWriter, r *http.Request) bool { h(s, w, r); return true }
		}
	}
	for _, c := range []struct {
		name   string
		change func(s *server)
		want   []string
	}{
		{"unauthorized", always(401), []string{"HF_TOKEN", "HTTP 401"}},
		{"gated", always(401, "X-Error-Code", "GatedRepo"), []string{"accept the repository's conditions on its page", "/datasets/owner/name", "HF_TOKEN"}},
		{"forbidden", always(403), []string{"accept the repository's conditions on its page", "/datasets/owner/name", "HF_TOKEN"}},
		{"missing", always(404), []string{"not found", "revision"}},
		{"no such revision", always(404, "X-Error-Code", "RevisionNotFound"), []string{"no such revision"}},
		{"shorter", always(416), []string{"shorter than the hub lists it", "gave up after"}},
		{"busy without end", always(503), []string{"service unavailable (HTTP 503) for 200ms", "--data-timeout"}},
		{"a web page", storage(func(_ *server, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}), []string{"a web page came in place of the file"}},
		{"no ranges", storage(func(s *server, w http.ResponseWriter, _ *http.Request) { w.Write(s.files[shard]) }), []string{"vlmtool fetch"}},
		{"the storage refuses", storage(func(_ *server, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }), []string{"the hub's storage at localhost", "HTTP 403"}},
		{"silence", storage(func(_ *server, w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), []string{"the connection stalled for 200ms"}},
		{"redirects without end", func(s *server) {
			s.hubFault = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
				return true
			}
		}, []string{"the hub redirects without end"}},
		{"changed", func(s *server) {
			s.files[shard] = random(300_001)
		}, []string{"has changed"}},
		{"changed to the same size", func(s *server) {
			s.files[shard] = bytes.Repeat([]byte("x"), 300_000)
		}, []string{"has changed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newDataset(t)
			st := openStream(t, s, func(o *StreamOptions) { o.Timeout = 200 * time.Millisecond })
			st.client.Idle = 50 * time.Millisecond
			files, err := st.Resolve(t.Context(), []string{dataset + shard})
			require.NoError(t, err)
			c.change(s)
			r := require.Value(files[0].Open(t.Context()))(t)
			_, err = r.ReadAt(make([]byte, 4), 100_000)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// An address in the storage is used until it is refused.
func TestStorageAddress(t *testing.T) {
	s := newDataset(t)
	st := openStream(t, s, func(o *StreamOptions) { o.Connections = 1 })
	r := st.open(t, shard)
	checkRead(t, r, s.files[shard])
	if s.resolved != 1 || len(s.ranges) < 3 {
		t.Errorf("the hub was asked %d times for %d ranges", s.resolved, len(s.ranges))
	}
	refused := 0
	s.fault = func(path string, w http.ResponseWriter, _ *http.Request) bool {
		if refused++; refused > 1 {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	st.settled(t)
	require.NoError(t, os.RemoveAll(st.o.CacheDir))
	forget(st.blocks)
	checkRead(t, r, s.files[shard])
	if s.resolved != 2 || len(st.reported(&st.warns)) != 0 {
		t.Errorf("the hub was asked %d times; warnings %q", s.resolved, st.warns)
	}
}

// An outage is reported once, its end once, and reads wait for it.
func TestOutage(t *testing.T) {
	s := newDataset(t)
	var mu sync.Mutex
	down := true
	s.fault = func(string, http.ResponseWriter, *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	st := openStream(t, s, nil)
	r := st.open(t, shard)
	r.Prefetch(0, r.Size())
	read := make(chan error)
	go func() {
		_, err := readAll(r)
		read <- err
	}()
	for len(st.reported(&st.warns)) == 0 {
		time.Sleep(time.Millisecond)
	}
	mu.Lock()
	down = false
	mu.Unlock()
	require.NoError(t, <-read)
	for len(st.reported(&st.notes)) == 0 {
		time.Sleep(time.Millisecond)
	}
	st.settled(t)
	warns, notes := st.reported(&st.warns), st.reported(&st.notes)
	if len(warns) != 1 || !strings.Contains(warns[0], "reading from the hub: the connection was lost; trying again for up to 20s") ||
		len(notes) != 1 || !strings.Contains(notes[0], "reading from the hub goes on after") {
		t.Errorf("warnings %q, notes %q", warns, notes)
	}
}

// openStreamParallel is openStream for parallel tests, which cannot set the environment.
func openStreamParallel(t *testing.T, s *server) *streamTest {
	st := &streamTest{}
	c := &Client{Endpoint: s.URL, HTTP: &http.Client{}, Attempts: 6, Pause: time.Millisecond, Idle: 300 * time.Millisecond}
	st.Stream = c.NewStream(t.Context(), StreamOptions{CacheDir: filepath.Join(t.TempDir(), "cache"), CacheBytes: 1 << 30, Timeout: 20 * time.Second})
	st.blockSize, st.headSize, st.tailSize = 64<<10, 1000, 5000
	t.Cleanup(func() { st.Close() })
	return st
}

// forget empties the blocks in memory.
func forget(b *blockReader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent = newRecentBlocks(recentBytes)
}
