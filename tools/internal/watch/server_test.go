package watch

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"
	"patchwork/tools/internal/listen"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestListen: a free port is served until Close; a port in use is an error of one line.
func TestListen(t *testing.T) {
	r, _ := begin(3)
	s, err := Listen("127.0.0.1:0", r)
	require.NoError(t, err)
	if s.Open || !strings.HasPrefix(s.URL, "http://127.0.0.1:") || strings.HasSuffix(s.URL, ":0/") {
		t.Errorf("%+v", s)
	}
	taken := strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), "/")
	if _, err := Listen(taken, r); err == nil || !strings.Contains(err.Error(), taken) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a port in use: %v", err)
	}
	answer, err := http.Get(s.URL + "api/run")
	require.NoError(t, err)
	answer.Body.Close()
	require.NoError(t, s.Close())
	if _, err := http.Get(s.URL); err == nil {
		t.Error("served after Close")
	}
	everywhere, err := Listen("0.0.0.0:0", r)
	require.NoError(t, err)
	if !everywhere.Open || !strings.HasPrefix(everywhere.URL, "http://127.0.0.1:") {
		t.Errorf("%+v", everywhere)
	}
	require.NoError(t, everywhere.Close())
}

// TestReadOnly: only GET and HEAD are accepted, and names of this machine.
func TestReadOnly(t *testing.T) {
	r, _ := begin(3)
	h := listen.Guard([]string{"localhost"}, nil, readOnly(r.handler()))
	for _, c := range []struct {
		method, host, path string
		code               int
	}{
		{"GET", "127.0.0.1:8080", "/", 200},
		{"HEAD", "127.0.0.1:8080", "/", 200},
		{"GET", "localhost:8080", "/page.js", 200},
		{"GET", "LOCALHOST", "/style.css", 200},
		{"GET", "[::1]:8080", "/icon.svg", 200},
		{"GET", "192.168.1.7:8080", "/api/run", 200},
		{"GET", "127.0.0.1", "/metrics", 200},
		{"GET", "attacker.example:8080", "/api/run", 403},
		{"POST", "127.0.0.1:8080", "/api/run", 405},
		{"DELETE", "127.0.0.1:8080", "/", 405},
		{"OPTIONS", "127.0.0.1:8080", "/", 405},
		{"GET", "127.0.0.1:8080", "/api/pictures/none", 404},
		{"GET", "127.0.0.1:8080", "/api/pictures/../run", 307}, // to the cleaned path
		{"GET", "127.0.0.1:8080", "/../server.go", 307},
		{"GET", "127.0.0.1:8080", "/nothing", 404},
	} {
		req := httptest.NewRequest(c.method, "http://placeholder"+c.path, nil)
		req.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != c.code {
			t.Errorf("%s %s of %q: %d, want %d", c.method, c.path, c.host, w.Code, c.code)
		}
	}
}

func get(t testing.TB, h http.Handler, path string) (*httptest.ResponseRecorder, []byte) {
	t.Helper()
	req := httptest.NewRequest("GET", path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w, body
}

// TestAPI checks the page's JSON.
func TestAPI(t *testing.T) {
	r, _ := begin(100)
	h := r.handler()
	_, body := get(t, h, "/api/run")
	var run runJSON
	require.NoError(t, json.Unmarshal(body, &run))
	if run.Name != "runs/shapes" || run.State.Step != 100 || len(run.Reasons) != 2 || len(run.Events) != 3 || run.Events[0].Kind != "failure" {
		t.Errorf("%+v", run)
	}
	for _, key := range []string{`"tokens_per_s":`, `"images_per_s":`} {
		if !strings.Contains(string(body), key) {
			t.Errorf("/api/run lacks %s:\n%.400s", key, body)
		}
	}
	if strings.Contains(string(body), "<script") {
		t.Error("JSON contains an HTML tag")
	}
	samples := run.Validations[0].Samples
	if len(samples) != 2 || samples[0].Images[0] != samples[1].Images[0] {
		t.Fatalf("samples: %+v", samples)
	}
	w, png := get(t, h, "/api/pictures/"+samples[0].Images[0])
	if w.Header().Get("Content-Type") != "image/png" || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("an image is %s, %q…", w.Header().Get("Content-Type"), png[:min(8, len(png))])
	}
	_, body = get(t, h, "/api/curves")
	var curves map[string]struct {
		Step           []int
		Mean, Min, Max []float64
	}
	require.NoError(t, json.Unmarshal(body, &curves))
	for name, points := range map[string]int{"loss": 100, "smooth": 100, "val": 1, "tokens_per_s": 100, "lr": 100, "grad_norm": 100, "memory_bytes": 100} {
		c := curves[name]
		if len(c.Step) != points || len(c.Mean) != points || len(c.Min) != len(c.Max) {
			t.Errorf("%s has %d steps, %d means, %d minima, %d maxima", name, len(c.Step), len(c.Mean), len(c.Min), len(c.Max))
		}
	}
}

// TestBeforeTheFirstStep: every path responds before the run starts.
func TestBeforeTheFirstStep(t *testing.T) {
	h := New(Options{}).handler()
	for path, want := range map[string]string{"/api/run": `"validations":[]`, "/api/curves": `"step":[]`, "/metrics": "vlmtool_train_steps_total 0"} {
		if _, body := get(t, h, path); !strings.Contains(string(body), want) {
			t.Errorf("%s lacks %s:\n%.400s", path, want, body)
		}
	}
}

// TestMetrics checks /metrics against Prometheus's conventions.
func TestMetrics(t *testing.T) {
	r, _ := begin(100)
	problems, err := testutil.GatherAndLint(r.registry())
	require.NoError(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	_, body := get(t, r.handler(), "/metrics")
	for _, want := range []string{
		"vlmtool_train_steps_total 100\n", "vlmtool_train_tokens_total 100000\n", "vlmtool_train_planned_steps 200\n", "vlmtool_validation_loss_nats 0.5\n",
		"vlmtool_train_tokens_per_second ", "vlmtool_train_images_per_second ",
		"vlmtool_train_peak_ratio 0.0", `vlmtool_data_bad_rows_total{reason="no turn has an answer"} 1`, "vlmtool_train_step_duration_seconds_count 100\n",
		"vlmtool_device_memory_bytes 6.7108864e+07\n", `vlmtool_train_info{device="cpu",device_name="a CPU",preset="shapes",run="runs/shapes",version="test"} 1`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

// BenchmarkCurves is a response for a run of a million steps.
func BenchmarkCurves(b *testing.B) {
	r, o := begin(1)
	for i := 2; i <= 1_000_000; i++ {
		o.Step(step(i))
	}
	h := r.handler()
	start := time.Now()
	for b.Loop() {
		get(b, h, "/api/curves")
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(b.N), "µs/answer")
}
