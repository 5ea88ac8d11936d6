package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/tools/internal/listen"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/serve"
)

// newModel returns a preset's model with two layers and random weights, on the CPU.
func newModel(t testing.TB, preset string, turns packing.Turns) *vlm.Runner {
	t.Helper()
	text, err := pretrained.Presets.ReadFile("presets/" + preset + "/recipe.json")
	require.NoError(t, err)
	var r struct {
		Vision vlm.VisionConfig `json:"vision_config"`
		Audio  vlm.AudioConfig  `json:"audio_config"`
		Text   vlm.TextConfig   `json:"text_config"`
		Init   vlm.Init         `json:"init"`
	}
	require.NoError(t, json.Unmarshal(text, &r))
	r.Text.NumHiddenLayers = 2
	proc, err := pretrained.PresetProcessor(preset, r.Vision.Patches())
	require.NoError(t, err)
	if !r.Audio.None() {
		require.NoError(t, proc.HearAudio())
	}
	for _, name := range proc.Tokenizer.Specials() { // random weights would write them
		if id, _ := proc.Tokenizer.ID(name); !proc.IsEOS(id) {
			proc.Suppressed = append(proc.Suppressed, id)
		}
	}
	config := vlm.Config{ModelType: vlm.ModelType, Vision: r.Vision, Audio: r.Audio, Text: r.Text, ImageTokenID: int(proc.ImageID()), AudioTokenID: int(proc.AudioID()), Attention: packing.Document, Turns: turns, FormatVersion: vlm.FormatVersion}
	m, err := vlm.NewModel(config, r.Init)
	require.NoError(t, err)
	dev := cpu.Open(1)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 3))
	return &vlm.Runner{Model: m, Processor: proc, Device: dev}
}

// started serves a model to a client.
type testServer struct {
	*server
	handler http.Handler
}

// serveModel serves a runner by a scheduler of its own.
func serveModel(t testing.TB, runner *vlm.Runner, o serve.Options, keys ...string) *testServer {
	t.Helper()
	scheduler, err := serve.NewBatched(runner, o)
	require.NoError(t, err)
	t.Cleanup(scheduler.Close)
	return serveBy(runner, scheduler, keys...)
}

func serveBy(runner *vlm.Runner, scheduler serve.Scheduler, keys ...string) *testServer {
	s := newServer(model{ID: "tiny", Config: runner.Config, Processor: runner.Processor}, scheduler, keys)
	o := options(s, serve.Options{})
	return &testServer{s, listen.Guard([]string{"localhost"}, o.Refuse, o.Handler)}
}

// small is a model of images that all tests of a process share; nobody closes it.
var small = sync.OnceValue(func() *vlm.Runner { return newModel(&testing.T{}, "shapes", packing.InConversation) })

func tiny(t testing.TB, keys ...string) *testServer {
	return serveModel(t, small(), serve.Options{Parallel: 4, Queue: 16}, keys...)
}

// post sends a request and returns the response.
func (s *testServer) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// object is a JSON object.
type object map[string]any

// at returns what a path of keys and indices leads to; nil if there is nothing.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// ask posts JSON, which must succeed.
func (s *testServer) ask(t testing.TB, path string, body any) object {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	w := s.send("POST", path, string(text))
	var out object
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		t.Fatalf("%s: %d %s", text, w.Code, w.Body)
	}
	return out
}

func (s *testServer) chat(t testing.TB, body object) object {
	t.Helper()
	return s.ask(t, "/v1/chat/completions", body)
}

// question is a greedy request.
func question(content any) object {
	return object{"messages": []object{{"role": "user", "content": content}}, "temperature": 0, "max_tokens": 8}
}

// with returns a request with one more field.
func (o object) with(key string, value any) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	out[key] = value
	return out
}

func textPart(text string) object { return object{"type": "text", "text": text} }

func imagePart(c color.Color) object {
	m := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range 40 * 40 {
		m.Set(i%40, i/40, c)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		panic(err)
	}
	return urlPart("data:image/png;base64," + base64.StdEncoding.EncodeToString(out.Bytes()))
}

func urlPart(url string) object {
	return object{"type": "image_url", "image_url": object{"url": url, "detail": "auto"}}
}

var red, blue = color.RGBA{220, 30, 30, 255}, color.RGBA{30, 60, 220, 255}

// wav is a second of a tone.
func wav() string {
	var out bytes.Buffer
	const rate = 8000
	out.WriteString("RIFF\x00\x00\x00\x00WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16)} {
		_ = binary.Write(&out, binary.LittleEndian, v)
	}
	out.WriteString("data")
	_ = binary.Write(&out, binary.LittleEndian, uint32(2*rate))
	for i := range rate {
		_ = binary.Write(&out, binary.LittleEndian, int16(8000*(i/20%2)))
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

// TestModels: the model is listed, and the small paths answer.
func TestModels(t *testing.T) {
	s := tiny(t)
	for path, want := range map[string]string{
		"/v1/models": `"data":[{`, "/v1/models/tiny": `"id":"tiny"`, "/health": `"ok"`, "/": "chat.js", "/metrics": "vlmtool_serve_queued_requests 0",
	} {
		if w := s.send("GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := s.send("GET", "/v1/models/other", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "model_not_found") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestKeys: with API keys, all but the health needs one of them.
func TestKeys(t *testing.T) {
	s := tiny(t, "secret-1", "secret-2")
	for _, c := range []struct {
		path, authorization string
		status              int
	}{
		{"/v1/models", "", 401}, {"/v1/models", "Bearer wrong", 401}, {"/v1/models", "Bearer", 401}, {"/v1/models", "Bearer ", 401}, {"/v1/models", "Basic secret-1", 401},
		{"/v1/models", "secret-1", 401}, {"/v1/models", "Bearer secret-1x", 401}, {"/v1/models", "Bearer secret-", 401}, {"/metrics", "", 401},
		{"/v1/models", "Bearer secret-1", 200}, {"/v1/models", "bearer secret-2", 200}, {"/metrics", "Bearer secret-1", 200}, {"/health", "", 200},
	} {
		if w := s.send("GET", c.path, "", "Authorization", c.authorization); w.Code != c.status {
			t.Errorf("%s with %q: %d, want %d", c.path, c.authorization, w.Code, c.status)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/v1/completions"} {
		if w := s.send("POST", path, "{}"); w.Code != 401 || !strings.Contains(w.Body.String(), "invalid_api_key") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestMetrics checks /metrics against Prometheus's conventions, after requests.
func TestMetrics(t *testing.T) {
	s := tiny(t)
	s.chat(t, question("what color?"))
	s.send("POST", "/v1/chat/completions", "{")
	problems, err := testutil.GatherAndLint(s.metrics.registry)
	require.NoError(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	text := s.send("GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`vlmtool_serve_requests_total{endpoint="chat",status="200"} 1`, `vlmtool_serve_requests_total{endpoint="chat",status="400"} 1`, `vlmtool_serve_tokens_total{kind="completion"} `,
		"vlmtool_serve_time_to_first_token_seconds_count 1", "vlmtool_serve_tokens_per_second_count 1", "vlmtool_serve_cache_capacity_tokens ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

// events reads the data of server-sent events.
func events(t testing.TB, from io.Reader) (chunks []object, done bool) {
	t.Helper()
	text, err := io.ReadAll(from)
	require.NoError(t, err)
	for _, event := range strings.Split(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok || done {
			t.Fatalf("event %q", event)
		}
		if done = data == "[DONE]"; done {
			continue
		}
		var chunk object
		require.NoError(t, json.Unmarshal([]byte(data), &chunk))
		chunks = append(chunks, chunk)
	}
	return chunks, done
}

func answerOf(o object, choice int) string {
	return fmt.Sprint(o.at("choices", choice, "message", "content"))
}
