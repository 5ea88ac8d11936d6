package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFetch runs the command against a hub with one small data set.
func TestFetch(t *testing.T) {
	const name, content = "README.md", "# data\n"
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	mux := http.NewServeMux()
	mux.HandleFunc("/api/datasets/o/d/revision/main", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"sha": "abcdef0123456789abcdef0123456789abcdef01"}`)
	})
	mux.HandleFunc("/api/datasets/o/d/tree/abcdef0123456789abcdef0123456789abcdef01", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]map[string]any{{"type": "file", "path": name, "size": len(content), "oid": hex.EncodeToString(sum[:])}})
	})
	mux.HandleFunc("/datasets/o/d/resolve/abcdef0123456789abcdef0123456789abcdef01/"+name, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, content) })
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_TOKEN_PATH", "/nonexistent")

	out := t.TempDir()
	got := vlmtool("fetch", "o/d", "--out", out, "--json", "--quiet")
	var result map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	if result["kind"] != "dataset" || result["commit"] != "abcdef0123456789abcdef0123456789abcdef01" || result["files"] != 1.0 || result["bytes"] != 7.0 {
		t.Errorf("result %v", result)
	}
	if text, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(text) != content {
		t.Errorf("got %q, %v", text, err)
	}
	if got := vlmtool("fetch", "o/nothing", "--out", out); got.code != 1 || !strings.Contains(got.stderr, "o/nothing@main") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("a missing repository: %+v", got)
	}
	for _, args := range [][]string{{"o/d"}, {"--out", out}, {"a b", "--out", out}, {"--preset", "shapes", "--out", out}, {"o/d", "--preset", "qwen3-1.7b", "--out", out}, {"o/d", "--out", out, "--type", "space"}} {
		if got := vlmtool(append([]string{"fetch"}, args...)...); got.code != 2 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
