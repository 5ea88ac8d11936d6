package hub

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func random(n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

func modelFiles() map[string][]byte {
	return map[string][]byte{
		"config.json": []byte(`{"model_type": "llama"}`), "tokenizer.json": random(3000), "model.safetensors": random(300_000),
		"onnx/model.onnx": random(5000), "pytorch_model.bin": random(5000), "README.md": []byte("# a model"), "empty.txt": {},
	}
}

const weights = "model.safetensors"

func fetch(t *testing.T, s *server, dir string, include ...string) (Result, error) {
	t.Helper()
	return s.client(t).Fetch(t.Context(), Repo{Name: s.name, Revision: "main"}, Options{Out: dir, Include: include})
}

// checkFiles checks that dir contains exactly the named files, with the server's contents.
func checkFiles(t *testing.T, s *server, dir string, names ...string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != len(names) {
		t.Errorf("%d files, want %d (%v)", n, len(names), err)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, s.files[name]) {
			t.Errorf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(s.files[name]))
		}
	}
}

func TestFetch(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(s *server)
		kind    Kind
		include []string
		want    []string
	}{
		{"a model's needed files", nil, Model, nil, []string{"config.json", "tokenizer.json", weights}},
		{"a data set's every file", nil, Dataset, nil, []string{"config.json", "tokenizer.json", weights, "onnx/model.onnx", "pytorch_model.bin", "README.md", "empty.txt"}},
		{"chosen files", nil, Model, []string{"onnx/*", "*.txt"}, []string{"onnx/model.onnx", "empty.txt"}},
		{"a folder", nil, Model, []string{"onnx/"}, []string{"onnx/model.onnx"}},
		{"a listing in pages", func(s *server) { s.page = 2 }, Model, nil, []string{"config.json", "tokenizer.json", weights}},
		{"a mirror without listings", func(s *server) { s.noTree = true }, Model, nil, []string{"config.json", "tokenizer.json", weights}},
		{"a token", func(s *server) { s.token = "hf_secret" }, Model, nil, []string{"config.json", "tokenizer.json", weights}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.kind, "owner/name", modelFiles(), weights)
			if c.change != nil {
				c.change(s)
			}
			dir := t.TempDir()
			got, err := fetch(t, s, dir, c.include...)
			if err != nil {
				t.Fatal(err)
			}
			checkFiles(t, s, dir, c.want...)
			if got.Commit != commit || got.Kind != c.kind || got.Files != len(c.want) || got.Bytes != got.Downloaded || got.Bytes == 0 && len(c.want) > 1 {
				t.Errorf("%+v", got)
			}
			if s.leaked {
				t.Error("the token was sent to another host")
			}
			again, err := fetch(t, s, dir, c.include...)
			if err != nil || again.Downloaded != 0 || again.Bytes != got.Bytes {
				t.Errorf("a second time: %+v, %v", again, err)
			}
		})
	}
}

// Network errors are retried until the files are complete.
func TestRetry(t *testing.T) {
	short := func(w http.ResponseWriter, data []byte) bool { // a connection that is lost
		w.Header().Set("Content-Length", "300000")
		w.Write(data)
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		name   string
		faults int // how often fault handles a request for a file
		fault  func(s *server, w http.ResponseWriter, r *http.Request) bool
	}{
		{"lost at the start", 1, func(s *server, w http.ResponseWriter, _ *http.Request) bool {
			return short(w, s.files[weights][:100_000])
		}},
		{"nothing at all", 4, func(s *server, w http.ResponseWriter, _ *http.Request) bool { return short(w, nil) }},
		{"ranges ignored", 2, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.Write(s.files[weights])
				return true
			}
			return short(w, s.files[weights][:100_000])
		}},
		{"rate limit", 3, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "0.01")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{"server error", 3, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}},
		{"damaged once", 1, func(s *server, w http.ResponseWriter, _ *http.Request) bool {
			b := bytes.Clone(s.files[weights])
			b[1000] ^= 1
			w.Write(b)
			return true
		}},
		{"silence", 1, func(s *server, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "300000")
			w.Write(s.files[weights][:1000])
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
			return true
		}},
		{"more than the file", 1, func(s *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Write(append(bytes.Clone(s.files[weights]), "surplus"...))
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, Model, "owner/name", modelFiles(), weights)
			var times atomic.Int64
			s.fault = func(path string, w http.ResponseWriter, r *http.Request) bool {
				return path == weights && times.Add(1) <= int64(c.faults) && c.fault(s, w, r)
			}
			dir := t.TempDir()
			if _, err := fetch(t, s, dir); err != nil {
				t.Fatal(err)
			}
			checkFiles(t, s, dir, "config.json", "tokenizer.json", weights)
		})
	}
}

// A partial download is resumed.
func TestResume(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	dir := t.TempDir()
	part := filepath.Join(dir, weights+"."+s.hash(weights)[:12]+".part")
	if err := os.WriteFile(part, s.files[weights][:200_000], 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := fetch(t, s, dir, weights)
	if err != nil || got.Downloaded != 100_000 || got.Bytes != 300_000 || len(s.ranges) != 1 || s.ranges[0] != "bytes=200000-" {
		t.Errorf("%+v, %v, ranges %q", got, err, s.ranges)
	}
	checkFiles(t, s, dir, weights)
}

// A file of another version is replaced.
func TestStaleFile(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), bytes.Repeat([]byte("x"), len(s.files["config.json"])), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(t, s, dir, "config.json"); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, s, dir, "config.json")
}

// Permanent errors are one line, and leave no file under its final name.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *server, dir string)
		want   string
	}{
		{"no such repository", func(_ *testing.T, s *server, _ string) { s.name = "owner/other" }, "not found"},
		{"always corrupted", func(_ *testing.T, s *server, _ string) {
			s.fault = func(path string, w http.ResponseWriter, _ *http.Request) bool {
				w.Write(make([]byte, len(s.files[path])))
				return true
			}
		}, "the downloaded file has hash"},
		{"always busy", func(_ *testing.T, s *server, _ string) {
			s.fault = func(_ string, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
		}, "gave up after 6 attempts"},
		{"a path out of the folder", func(_ *testing.T, s *server, _ string) { s.files["../evil.json"] = []byte("x") }, "outside the folder"},
		{"no weights", func(_ *testing.T, s *server, _ string) {
			delete(s.files, weights)
			s.files["a.gguf"] = []byte("x")
		}, "--include from: a.gguf"},
		{"a folder in place of the file", func(_ *testing.T, _ *server, dir string) {
			os.MkdirAll(filepath.Join(dir, weights, "in", "the", "way"), 0o755)
		}, "model.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, Model, "owner/name", modelFiles(), weights)
			dir := t.TempDir()
			c.change(t, s, dir)
			_, err := fetch(t, s, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if info, err := os.Stat(filepath.Join(dir, weights)); err == nil && info.Mode().IsRegular() {
				t.Error("the file has its final name although it is wrong")
			}
		})
	}
}

func TestToken(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	s.token = "right"
	c := s.client(t)
	c.Token = "wrong"
	_, err := c.Fetch(t.Context(), Repo{Name: s.name, Revision: "main"}, Options{Out: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "HF_TOKEN") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v, want an error that names HF_TOKEN but not the token", err)
	}
}

func TestCancel(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	ctx, cancel := context.WithCancel(t.Context())
	s.fault = func(path string, w http.ResponseWriter, r *http.Request) bool {
		if path != weights {
			return false
		}
		w.Header().Set("Content-Length", "300000")
		w.Write(s.files[weights][:150_000])
		w.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond)
		cancel()
		<-r.Context().Done()
		return true
	}
	dir := t.TempDir()
	if _, err := s.client(t).Fetch(ctx, Repo{Name: s.name, Revision: "main"}, Options{Out: dir}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	s.fault = nil
	got, err := fetch(t, s, dir, weights)
	if err != nil || got.Downloaded >= 300_000 {
		t.Errorf("%+v, %v: the start was downloaded again", got, err)
	}
	checkFiles(t, s, dir, "config.json", "tokenizer.json", weights)
}

func TestParseRepo(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Repo
		bad  bool
	}{
		{in: "Qwen/Qwen3-1.7B", want: Repo{Any, "Qwen/Qwen3-1.7B", "main"}},
		{in: "gpt2", want: Repo{Any, "gpt2", "main"}},
		{in: "a/b@v1.0", want: Repo{Any, "a/b", "v1.0"}},
		{in: "a/b@refs/pr/1", want: Repo{Any, "a/b", "refs/pr/1"}},
		{in: "datasets/a/b", want: Repo{Dataset, "a/b", "main"}},
		{in: "https://huggingface.co/datasets/a/b", want: Repo{Dataset, "a/b", "main"}},
		{in: "https://huggingface.co/a/b", want: Repo{Any, "a/b", "main"}},
		{in: "a/b@", bad: true}, {in: "", bad: true}, {in: "a/../b", bad: true}, {in: "a/b/c", bad: true}, {in: "a//b", bad: true}, {in: "a/b?x=1", bad: true},
	} {
		got, err := ParseRepo(c.in)
		if (err != nil) != c.bad || err == nil && got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}
