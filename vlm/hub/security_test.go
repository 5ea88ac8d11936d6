package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"patchwork/internal/folderlock"
)

// The token is sent only to the hub's scheme, host and port, whatever URLs the hub names.
func TestTokenOrigin(t *testing.T) {
	const host = "hub.test"
	for _, c := range []struct {
		name, to string // scheme://host:port, %d being the hub's port
		gets     bool
	}{
		{"the hub itself", "http://hub.test:%d", true},
		{"the hub in capitals", "http://HUB.test:%d", true},
		{"another port", "http://hub.test:1", false},
		{"the default port", "http://hub.test", false},
		{"a subdomain", "http://cdn.hub.test:%d", false},
		{"a host with the hub's name as prefix", "http://hub.test.evil:%d", false},
		{"another host", "http://evil.test:%d", false},
		{"the hub's name as user name", "http://hub.test:%[1]d@evil.test:%[1]d", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]string{}
			port := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				got[r.Host+r.URL.Path] = r.Header.Get("Authorization")
				mu.Unlock()
				if r.URL.Path == "/start" {
					to := c.to
					if strings.Contains(to, "%") {
						to = fmt.Sprintf(to, port)
					}
					http.Redirect(w, r, to+"/end", http.StatusFound)
				}
			}))
			defer server.Close()
			port = server.Listener.Addr().(*net.TCPAddr).Port
			to := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
			}}
			defer to.CloseIdleConnections()
			client := &Client{Endpoint: fmt.Sprintf("http://%s:%d", host, port), Token: "secret", HTTP: &http.Client{Transport: to}, Attempts: 1}
			r, err := client.request(t.Context(), client.HTTP, http.MethodGet, client.Endpoint+"/start", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if got[fmt.Sprintf("%s:%d/start", host, port)] != "Bearer secret" || len(got) != 2 {
				t.Fatalf("requests %v", got)
			}
			for at, token := range got {
				if strings.HasSuffix(at, "/end") && (token == "Bearer secret") != c.gets {
					t.Errorf("%s got %q", at, token)
				}
			}
		})
	}
}

// The token of an https hub is not sent over http.
func TestTokenIsNotSentUnencrypted(t *testing.T) {
	var got string
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	defer secure.Close()
	client := &Client{Endpoint: secure.URL, Token: "secret", HTTP: secure.Client()}
	r, err := client.request(t.Context(), client.HTTP, http.MethodGet, secure.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if got != "" {
		t.Errorf("the token %q was sent unencrypted", got)
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		endpoint, address string
		own               bool
	}{
		{"https://hub.co", "https://hub.co/a", true},
		{"https://hub.co", "https://hub.co:443/a", true},
		{"https://hub.co", "HTTPS://HUB.co/a", true},
		{"https://hub.co/mirror", "https://hub.co/elsewhere", true},
		{"https://hub.co", "http://hub.co/a", false},
		{"https://hub.co", "http://hub.co:443/a", false},
		{"https://hub.co", "https://hub.co:8443/a", false},
		{"https://hub.co", "https://cdn.hub.co/a", false},
		{"https://hub.co", "https://hub.co.evil.com/a", false},
		{"https://hub.co", "https://hub.co@evil.com/a", false},
		{"http://127.0.0.1:80", "http://127.0.0.1/a", true},
		{"http://[::1]:8080", "http://[::1]:8080/a", true},
	} {
		c2 := &Client{Endpoint: c.endpoint}
		r, err := http.NewRequest(http.MethodGet, c.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c2.sameOrigin(r.URL); got != c.own {
			t.Errorf("%s of %s: %v, want %v", c.address, c.endpoint, got, c.own)
		}
	}
}

// A listing that continues at another origin is an error; it is not truncated.
func TestNextPageOfOtherOrigin(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	s.token, s.page, s.next = "secret", 2, s.storage.URL
	dir := t.TempDir()
	_, err := fetch(t, s, dir)
	if err == nil || !strings.Contains(err.Error(), "the listing continues at") {
		t.Errorf("got %v", err)
	}
	if s.leaked {
		t.Error("the token was sent to another origin")
	}
	checkFiles(t, s, dir)
}

// The commit is validated, since it becomes part of URLs and file names.
func TestCommit(t *testing.T) {
	for _, sha := range []string{"", "/../../evil", "main", "../" + commit, strings.ToUpper("abcdef" + commit[6:]), commit + "0", commit[:39], commit[:39] + "g", "\x1b[31m" + commit[:35]} {
		t.Run(sha, func(t *testing.T) {
			s := newServer(t, Model, "owner/name", modelFiles(), weights)
			s.sha, s.noTree = sha, true
			root := t.TempDir()
			dir := filepath.Join(root, "a", "b", "out")
			_, err := fetch(t, s, dir)
			if err == nil || !strings.Contains(err.Error(), "40 hexadecimal digits") || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %v", err)
			}
			checkFiles(t, s, root)
		})
	}
}

// A name that is invalid or another file's name on some system is an error. It is never
// printed unquoted.
func TestNames(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, name := range []string{
		"../evil", "a/../../evil", "/etc/evil", "./a", "a//b", "a/", "..", ".", "",
		`..\evil`, `a\b`, `C:\evil`, "C:evil", "a:stream",
		"NUL", "nul.txt", "con", "CON.json", "aux", "folder/PRN.bin", "com1", "LPT9.safetensors", "COM¹", "con .txt", "CONIN$",
		"a.", "a ", " a", "folder./a", "folder /a", "a?", "a*", "a<b", "a|b", `a"b`,
		"\x1b[31mred", "a\nb", "a\rb", "a\x00b", "a\u202egpj.exe", "a\u2066b", "a\u200fb", "a\u0085b", "a\u2028b", "\x9b31m", "\xff",
		long, strings.Repeat("a/", 600) + "b",
		".lock", "CONFIG.json", "Onnx/other", "config.json/x", "Config.json",
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			s := newServer(t, Dataset, "owner/name", modelFiles(), weights)
			s.entries = []map[string]any{{"type": "file", "path": name, "size": 1, "oid": "none"}}
			root := t.TempDir()
			c := s.client(t)
			c.Note = func(note string) {
				if strings.ContainsFunc(note, isUnprintable) {
					t.Errorf("note: %q", note)
				}
			}
			_, err := c.Fetch(t.Context(), Repo{Name: s.name, Revision: "main"}, Options{Out: filepath.Join(root, "out")})
			if err == nil || !strings.Contains(err.Error(), "nothing was fetched") || len(err.Error()) > 600 {
				t.Fatalf("got %v", err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return isUnprintable(r) && r != utf8.RuneError }) {
				t.Errorf("printed unquoted: %q", err)
			}
			checkFiles(t, s, root)
		})
	}
	for _, name := range []string{"données/été.json", "图片/一.png", "a b.txt", "..a", "...a/b", "nulls.txt", "com10.txt", "console.json", ".gitattributes", "x.part", "👩‍🚀.png"} {
		if why := checkNames(Repo{}, []File{{Path: name}}); why != nil || !isLocalName(name) {
			t.Errorf("%q: %v", name, why)
		}
	}
}

// An invalid name does not matter if the file is not selected.
func TestNamesNotSelected(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	s.entries = []map[string]any{{"type": "file", "path": "logs/2024:01.txt", "size": 1, "oid": commit}}
	dir := t.TempDir()
	if _, err := fetch(t, s, dir); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, s, dir, "config.json", "tokenizer.json", weights)
}

// A listing of any size is an error of one line, quickly and with little memory.
func TestListingLimits(t *testing.T) {
	const file = `{"type":"file","path":"a%d","size":1,"oid":"` + commit + `"}`
	for _, c := range []struct {
		name string
		tree func(w http.ResponseWriter, r *http.Request)
		want string
	}{
		{"an endless response", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "[")
			blank := strings.Repeat(" ", 1<<20)
			for i := 0; i < 100; i++ {
				if _, err := fmt.Fprint(w, blank); err != nil {
					return
				}
			}
			fmt.Fprint(w, "]")
		}, "more than 64 MiB"},
		{"files that take three bytes", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "[{}", strings.Repeat(",{}", 8<<20), "]")
		}, "more than 1048576 files"},
		{"endless pages", func(w http.ResponseWriter, r *http.Request) {
			var n int
			fmt.Sscan(r.URL.Query().Get("cursor"), &n)
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?cursor=%d>; rel="next"`, r.Host, r.URL.Path, n+1))
			fmt.Fprintf(w, "["+file+"]", n)
		}, "more than 4096 pages"},
		{"no list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"a": 1}`) }, "the response is not a hub's"},
		{"brackets", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 1<<20)) }, "the response is not a hub's"},
		{"a size beyond any disk", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `[{"type":"file","path":"model.safetensors","size":%d,"oid":"%s"}, {"type":"file","path":"b.safetensors","size":%[1]d,"oid":"%[2]s"}]`, int64(math.MaxInt64), commit)
		}, "free for"},
		{"a negative size", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `[{"type":"file","path":"model.safetensors","size":-5,"oid":"%s"}]`, commit)
		}, "not found"}, // the size is requested as if it were missing
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "free for" && runtime.GOOS == "windows" {
				t.Skip("the free disk space is unknown here")
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/api/models/o/m/revision/main", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"sha": "%s"}`, commit) })
			mux.HandleFunc("/api/models/o/m/tree/"+commit, c.tree)
			server := httptest.NewServer(mux)
			defer server.Close()
			client := &Client{Endpoint: server.URL, HTTP: &http.Client{}, Attempts: 2, Pause: time.Millisecond, Idle: 10 * time.Second}
			out := filepath.Join(t.TempDir(), "out")
			_, err := client.Fetch(t.Context(), Repo{Kind: Model, Name: "o/m", Revision: "main"}, Options{Out: out})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("the folder was created")
			}
		})
	}
}

// The number of names that a mirror without listings returns is limited as well.
func TestSiblingLimit(t *testing.T) {
	var r revision
	var limit *LimitError
	if err := json.Unmarshal([]byte(`{"siblings": [{}`+strings.Repeat(",{}", maxFiles)+`]}`), &r); !errors.As(err, &limit) {
		t.Errorf("got %v", err)
	}
}

// A fetch locks its folder and unlocks it at the end.
func TestLocked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders are not locked here")
	}
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	dir := t.TempDir()
	lock, err := folderlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(t, s, dir); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(t, s, dir); err != nil {
		t.Error(err)
	}
	checkFiles(t, s, dir, "config.json", "tokenizer.json", weights)
}

// A file that another process verifies and renames during the download is not truncated
// when this fetch ends, even without locks.
func TestNoTruncateAfterRename(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	dir := t.TempDir()
	part, final := filepath.Join(dir, partName(weights, s.hash(weights))), filepath.Join(dir, weights)
	ctx, cancel := context.WithCancel(t.Context())
	s.fault = func(path string, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", "300000")
		w.Write(s.files[weights][:100_000])
		w.(http.Flusher).Flush()
		for info, err := os.Stat(part); err != nil || info.Size() < 100_000; info, err = os.Stat(part) {
			time.Sleep(time.Millisecond)
		}
		f, err := os.OpenFile(part, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(s.files[weights], 0)
			err = errors.Join(err, f.Close(), os.Rename(part, final))
		}
		if err != nil {
			t.Error(err)
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	f := File{Path: weights, Size: 300_000, SHA256: s.hash(weights)}
	_, err := s.client(t).download(ctx, Repo{Model, s.name, commit}, f, dir, func(int64) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	checkFiles(t, s, dir, weights)
}

// The password in a mirror's URL is not printed.
func TestPasswordIsNotPrinted(t *testing.T) {
	s := newServer(t, Model, "owner/name", modelFiles(), weights)
	for name, change := range map[string]func(){
		"no commit":       func() { s.sha = "main" },
		"another listing": func() { s.sha, s.page, s.next = commit, 2, "http://user:hidden@evil.test" },
		"no repository":   func() { s.name, s.page = "owner/none", 0 },
	} {
		change()
		c := s.client(t)
		c.Endpoint = strings.Replace(s.URL, "http://", "http://user:hidden@", 1)
		_, err := c.Fetch(t.Context(), Repo{Kind: Model, Name: s.name, Revision: "main"}, Options{Out: t.TempDir()})
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for s, want := range map[string]time.Duration{"2": 2 * time.Second, "0.5": time.Second / 2, "1e300": maxWait, "Inf": maxWait, "99999999999999999999": maxWait, "-1": 0, "NaN": 0, "": 0, "soon": 0} {
		if got := retryAfter(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
