package hub

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"patchwork/internal/require"
)

// BenchmarkStream reads a file of 256 MiB through the local server: by one plain request, by a
// stream without anything in its cache (ahead as the loader does, and without a disk), and from
// the cache.
func BenchmarkStream(b *testing.B) {
	const size, step = 256 << 20, 16 << 20
	s := &server{kind: Dataset, name: "owner/name", sha: commit, large: map[string]bool{shard: true}, files: map[string][]byte{shard: random(size)}}
	s.storage = httptest.NewServer(http.HandlerFunc(s.content))
	defer s.storage.Close()
	hub := http.NewServeMux()
	hub.HandleFunc("/api/datasets/owner/name/tree/"+commit+"/config", s.tree)
	hub.HandleFunc("/datasets/owner/name/resolve/"+commit+"/", s.resolve)
	s.Server = httptest.NewServer(hub)
	defer s.Close()
	client := &Client{Endpoint: s.URL, HTTP: &http.Client{}, Attempts: 6, Idle: time.Minute}

	read := func(b *testing.B, o StreamOptions) {
		st := client.NewStream(b.Context(), o)
		defer st.Close()
		files := require.Value(st.Resolve(b.Context(), []string{"hf://datasets/owner/name@" + commit + "/config"}))(b)
		r := require.Value(files[0].Open(b.Context()))(b)
		p := make([]byte, 1<<20)
		for at := int64(0); at < size; at += int64(len(p)) {
			if at%step == 0 {
				r.Prefetch(at, 2*step)
			}
			if _, err := r.ReadAt(p, at); err != nil {
				b.Fatal(err)
			}
		}
	}
	dir := b.TempDir()
	for _, c := range []struct {
		name string
		run  func(b *testing.B)
	}{
		{"get", func(b *testing.B) {
			resp := require.Value(http.Get(s.storage.URL + "/" + "config%2Ftrain-00000-of-00002.parquet"))(b)
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
				b.Fatal(n, err)
			}
		}},
		{"cold", func(b *testing.B) {
			read(b, StreamOptions{CacheDir: filepath.Join(b.TempDir(), "cache"), CacheBytes: 1 << 40})
		}},
		{"memory", func(b *testing.B) { read(b, StreamOptions{}) }},
		{"warm", func(b *testing.B) { read(b, StreamOptions{CacheDir: dir, CacheBytes: 1 << 40}) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.name == "warm" {
				c.run(b)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				c.run(b)
			}
		})
	}
}
