package listen

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "8080": "127.0.0.1:8080", ":0": "127.0.0.1:0",
		"0.0.0.0:8080": "0.0.0.0:8080", "[::1]:80": "[::1]:80", "localhost:99": "localhost:99", "here": "",
		"": "", "127.0.0.1": "", "127.0.0.1:": "", ":99999": "", ":-1": "", "[::1:80": "", "a:b:c": "",
	} {
		got, err := Address(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Address(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

// TestGuard: only names of this machine, and pages of its own, are accepted.
func TestGuard(t *testing.T) {
	h := Guard([]string{"localhost", "trainer.lan"}, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, c := range []struct {
		host, origin string
		code         int
	}{
		{"127.0.0.1:8080", "", 200},
		{"localhost:8080", "", 200},
		{"LOCALHOST", "", 200},
		{"[::1]:8080", "", 200},
		{"192.168.1.7:8080", "", 200},
		{"trainer.lan:8080", "", 200},
		{"attacker.example:8080", "", 403},
		{"localhost.attacker.example", "", 403},
		{"127.0.0.1.attacker.example", "", 403},
		{"", "", 403},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", 200},
		{"localhost:8080", "http://LOCALHOST:8080", 200},
		{"127.0.0.1:8080", "http://127.0.0.1:9090", 403},
		{"127.0.0.1:8080", "http://localhost:8080", 403},
		{"127.0.0.1:8080", "https://attacker.example", 403},
		{"127.0.0.1:8080", "null", 403},
		{"127.0.0.1:8080", "::", 403},
	} {
		req := httptest.NewRequest("POST", "http://placeholder/", nil)
		if req.Host = c.host; c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != c.code {
			t.Errorf("%q, origin %q: %d, want %d", c.host, c.origin, w.Code, c.code)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("Content-Security-Policy %q", csp)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v", w.Header())
		}
	}
}
