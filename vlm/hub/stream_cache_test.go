package hub

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patchwork/internal/require"
)

// blockFiles are the blocks on disk.
func blockFiles(t *testing.T, dir string) (paths []string, bytes int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "blocks"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil { // removed meanwhile
			return nil
		}
		paths, bytes = append(paths, path), bytes+info.Size()
		return nil
	}))
	return paths, bytes
}

// Damaged blocks are fetched again, and only those.
func TestDamagedBlocks(t *testing.T) {
	s := newDataset(t)
	dir := t.TempDir()
	withCache := func(o *StreamOptions) { o.CacheDir = dir }
	first := openStream(t, s, withCache)
	checkRead(t, first.open(t, shard), s.files[shard])
	first.settled(t)
	first.Close()
	paths, _ := blockFiles(t, dir)
	slices.SortFunc(paths, func(a, b string) int {
		return int(require.Value(os.Stat(b))(t).Size() - require.Value(os.Stat(a))(t).Size())
	})
	damaged, truncated, other := paths[0], paths[1], paths[2] // of 64 KiB each
	text := require.Value(os.ReadFile(damaged))(t)
	text[30_000] ^= 1
	require.NoError(t, os.WriteFile(damaged, text, 0o600))
	require.NoError(t, os.Truncate(truncated, 100))
	require.NoError(t, os.WriteFile(other, require.Value(os.ReadFile(paths[3]))(t), 0o600))

	again := openStream(t, s, withCache)
	r := again.open(t, shard)
	r.Prefetch(0, r.Size()) // finds the files, but not that they are damaged
	again.settled(t)
	checkRead(t, r, s.files[shard])
	if stats := again.Stats(); stats.Damaged != 3 || stats.Downloaded != 3*64<<10 {
		t.Errorf("%+v", stats)
	}
}

// The cache stays within its limit while a larger file is read through it.
func TestCacheLimit(t *testing.T) {
	s := newDataset(t)
	const limit = 200_000 // three blocks of the file's five
	st := openStream(t, s, func(o *StreamOptions) { o.CacheBytes, o.CacheDir = limit, t.TempDir() })
	r := st.open(t, shard)
	for range 3 {
		forget(st.blocks)
		for from := int64(0); from < r.Size(); from += 30_000 {
			r.Prefetch(from, 60_000)
			p := make([]byte, 30_000)
			if _, err := r.ReadAt(p, from); err != nil || !bytes.Equal(p, s.files[shard][from:from+30_000]) {
				t.Fatalf("at %d: %v", from, err)
			}
			st.settled(t) // a folder is not listed at one moment: a block and its successor could both be counted
			if _, n := blockFiles(t, st.o.CacheDir); n > limit {
				t.Fatalf("%d bytes, the limit is %d", n, limit)
			}
		}
		st.settled(t)
	}
}

// A disk that cannot be written is one warning, and every byte is read.
func TestNoCache(t *testing.T) {
	for name, change := range map[string]func(o *StreamOptions){
		"no folder":            func(o *StreamOptions) { o.CacheDir = "" },
		"no bytes":             func(o *StreamOptions) { o.CacheBytes = 0 },
		"a file in its place":  func(o *StreamOptions) { o.CacheDir = "server_test.go" },
		"a disk without space": func(o *StreamOptions) { o.CacheReserve = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newDataset(t)
			st := openStream(t, s, change)
			r := st.open(t, shard)
			r.Prefetch(0, r.Size())
			checkRead(t, r, s.files[shard])
			st.settled(t)
			if stats := st.Stats(); stats.Downloaded != 300_000 {
				t.Errorf("%+v", stats)
			}
			if _, err := os.Stat("blocks"); err == nil {
				t.Error("blocks are written to the current folder")
			}
			expected := 0
			if strings.HasPrefix(name, "a ") {
				expected = 1
			}
			if got := st.reported(&st.warns); len(got) != expected {
				t.Errorf("warnings %q", got)
			}
		})
	}
}

// Two processes read through one folder at the same time.
func TestTwoProcesses(t *testing.T) {
	const variable = "PATCHWORK_TEST_STREAM"
	if endpoint, dir, ok := strings.Cut(os.Getenv(variable), " "); ok {
		c := &Client{Endpoint: endpoint, HTTP: &http.Client{}, Attempts: 6, Pause: time.Millisecond, Idle: time.Second}
		st := c.NewStream(t.Context(), StreamOptions{CacheDir: dir, CacheBytes: 200_000, Timeout: 20 * time.Second})
		defer st.Close()
		st.blockSize, st.headSize, st.tailSize = 16<<10, 1000, 5000
		files := require.Value(st.Resolve(t.Context(), []string{dataset + "config"}))(t)
		for range 6 {
			for _, f := range files {
				forget(st.blocks)
				r := require.Value(f.Open(t.Context()))(t)
				r.Prefetch(0, r.Size())
				checkRead(t, r, datasetFiles()[f.file.Path])
			}
		}
		if stats := st.Stats(); stats.Cached == 0 || stats.Damaged != 0 {
			t.Errorf("%+v", stats)
		}
		return
	}
	s := newDataset(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			command := exec.Command(os.Args[0], "-test.run=^TestTwoProcesses$")
			command.Env = append(os.Environ(), variable+"="+s.URL+" "+dir)
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if _, n := blockFiles(t, dir); n > 200_000 || n == 0 {
		t.Errorf("%d bytes", n)
	}
}

// With everything in the cache, no network is needed. What is missing waits for it.
func TestOffline(t *testing.T) {
	s := newDataset(t)
	dir := t.TempDir()
	withCache := func(o *StreamOptions) { o.CacheDir, o.Timeout = dir, 100*time.Millisecond }
	online := openStream(t, s, withCache)
	checkRead(t, online.open(t, shard), s.files[shard])
	online.settled(t)
	online.Close()
	s.Close()
	s.storage.Close()

	offline := openStream(t, s, withCache)
	checkRead(t, offline.open(t, shard), s.files[shard])
	if got := offline.reported(&offline.warns); !slices.ContainsFunc(got, func(w string) bool {
		return strings.Contains(w, "it is read at commit 0123456789ab, which it was on") && strings.Contains(w, "cannot be reached (connection refused)")
	}) {
		t.Errorf("warnings %q", got)
	}
	pinned := openStream(t, s, withCache)
	files, err := pinned.Resolve(t.Context(), []string{"hf://datasets/owner/name@" + commit + "/" + shard})
	require.NoError(t, err)
	if got := pinned.reported(&pinned.warns); len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
	paths, _ := blockFiles(t, dir)
	for _, p := range paths {
		require.NoError(t, os.Remove(p))
	}
	var outage *OutageError
	r := require.Value(files[0].Open(t.Context()))(t)
	if _, err := r.ReadAt(make([]byte, 8), 100); !errors.As(err, &outage) || !strings.Contains(err.Error(), "cannot be reached (connection refused) for 100ms") {
		t.Errorf("got %v", err)
	}
	if _, err := pinned.Resolve(t.Context(), []string{dataset + "mixed/*"}); err == nil {
		t.Error("a listing that was never read")
	}
}

// A resumed run reads the commits that it read before.
func TestEarlier(t *testing.T) {
	s := newDataset(t)
	st := openStream(t, s, nil)
	before := st.open(t, shard).file.Name()
	s.sha = strings.Repeat("9", 40)
	other := strings.Repeat("8", 40)
	after := openStream(t, s, func(o *StreamOptions) { o.Earlier = []string{"a.parquet", before} })
	if got := after.open(t, shard).file.Name(); got != before {
		t.Errorf("resumed with %s, want %s", got, before)
	}
	if r, err := after.pin(t.Context(), Reference{Repo: Repo{Dataset, "owner/name", s.sha}}); err != nil || r.Revision != s.sha {
		t.Errorf("a given commit: %v, %v", r, err)
	}
	one, two := []string{before}, []string{before, "hf://datasets/owner/name@" + other + "/test/x.parquet"}
	for _, c := range []struct {
		earlier   []string
		ref, want string
	}{
		{one, "hf://datasets/owner/other/a", ""},
		{one, "hf://owner/name/a", ""},
		{one, "hf://datasets/owner/name@v1/a", commit},
		{two, "hf://datasets/owner/name/a", ""},
		{two, "hf://datasets/owner/name/config", commit},
		{two, "hf://datasets/owner/name@v2/test", other},
		{two, "hf://datasets/owner/name/test/*.parquet", other},
		{two, "hf://datasets/owner/name/" + shard, commit},
	} {
		after.o.Earlier = c.earlier
		if got := after.earlierCommit(require.Value(ParseReference(c.ref))(t)); got != c.want {
			t.Errorf("%s after %q: %q, want %q", c.ref, c.earlier, got, c.want)
		}
	}
}

// What is fetched ahead is read without a request.
func TestPrefetch(t *testing.T) {
	s := newDataset(t)
	for name, change := range map[string]func(o *StreamOptions){"on disk": nil, "in memory": func(o *StreamOptions) { o.CacheBytes = 0 }} {
		t.Run(name, func(t *testing.T) {
			st := openStream(t, s, change)
			r := st.open(t, shard)
			for _, p := range [][2]int64{{-1, 10}, {0, 0}, {10, -5}, {300_000, 10}, {70_000, 150_000}, {60_000, 1 << 60}} {
				r.Prefetch(p[0], p[1])
			}
			st.settled(t)
			before := st.Stats().Requests
			if _, err := r.ReadAt(make([]byte, 1), 0); err != nil {
				t.Error(err)
			}
			p := make([]byte, 240_000)
			if _, err := r.ReadAt(p, 60_000); err != nil || !bytes.Equal(p, s.files[shard][60_000:]) {
				t.Error(err)
			}
			if after := st.Stats().Requests; before == 0 || after != before {
				t.Errorf("%d requests, then %d", before, after)
			}
			st.blocks.mu.Lock()
			defer st.blocks.mu.Unlock()
			if st.blocks.aheadBytes != 0 || st.blocks.recent.unread != 0 {
				t.Errorf("%d bytes ahead, %d unread", st.blocks.aheadBytes, st.blocks.recent.unread)
			}
		})
	}
}

// A read ends with its context and with its stream, whatever the network does.
func TestStreamCancel(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	for name, change := range map[string]func(s *server){
		"silence":    func(s *server) { s.hubFault = hang },
		"rate limit": func(s *server) { s.hubFault = limited },
		"outage":     func(s *server) { s.CloseClientConnections(); s.Close() },
	} {
		for _, close := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := newDataset(t)
				st := openStream(t, s, nil)
				st.client.Idle, st.pause = time.Minute, time.Minute
				files, err := st.Resolve(t.Context(), []string{dataset + shard})
				require.NoError(t, err)
				change(s)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := require.Value(files[0].Open(ctx))(t)
				r.Prefetch(100_000, 100_000)
				read := make(chan error)
				go func() {
					_, err := r.ReadAt(make([]byte, 10), 0)
					read <- err
				}()
				for st.Stats().Requests < 2 {
					time.Sleep(time.Millisecond)
				}
				start := time.Now()
				if close {
					st.Close()
				} else {
					cancel()
				}
				if err := <-read; !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
	}
}

func limited(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("RateLimit", `"resolvers";r=0;t=300`)
	w.WriteHeader(http.StatusTooManyRequests)
	return true
}
