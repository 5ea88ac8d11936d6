// Package serve is vlmtool serve: OpenAI's HTTP API for a model.
package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"patchwork/tools/internal/listen"
	"patchwork/vlm"
	"patchwork/vlm/grammar"
	"patchwork/vlm/serve"
)

// model is the model that is served.
type model struct {
	ID        string
	Config    vlm.Config
	Processor *vlm.Processor
	Created   time.Time
}

// server is the HTTP API over a scheduler.
type server struct {
	model      model
	scheduler  serve.Scheduler
	keys       [][sha256.Size]byte // hashes of API keys; none: no key is needed
	bodies     budget
	preparing  *serve.Turns // of requests that are being prepared
	vocabulary func() *grammar.Vocabulary
	metrics    *metrics
	maxWeights int // of a response of /v1/attention
}

// newServer returns the API for a model; keys may be empty.
func newServer(m model, scheduler serve.Scheduler, keys []string) *server {
	s := &server{model: m, scheduler: scheduler, bodies: budget{left: maxBodies, taken: map[string]int64{}}, maxWeights: maxWeights, preparing: serve.NewTurns(max(1, runtime.NumCPU()/2))}
	for _, key := range keys {
		s.keys = append(s.keys, sha256.Sum256([]byte(key)))
	}
	s.vocabulary = sync.OnceValue(s.newVocabulary)
	s.metrics = newMetrics(scheduler)
	return s
}

// Handler is the API for a model without a network: inside a web page, and in tests.
func Handler(id string, m *vlm.Runner, scheduler serve.Scheduler) http.Handler {
	return newServer(model{ID: id, Config: m.Config, Processor: m.Processor, Created: time.Now()}, scheduler, nil).handler()
}

// newVocabulary returns the model's tokens, of which special ones are never part of a text.
func (s *server) newVocabulary() *grammar.Vocabulary {
	tok := s.model.Processor.Tokenizer
	tokens := make([][]byte, tok.Len())
	for id := range tokens {
		if !tok.IsSpecial(int32(id)) {
			tokens[id] = tok.Bytes(int32(id))
		}
	}
	return grammar.NewVocabulary(tokens, s.model.Processor.EOSIDs())
}

// handler is the whole API, with the chat page at /.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	page(mux)
	mux.HandleFunc("GET /health", s.health)
	mux.Handle("GET /metrics", s.authorized(s.metrics.handler()))
	mux.Handle("GET /v1/models", s.authorized(http.HandlerFunc(s.models)))
	mux.Handle("GET /v1/models/{id...}", s.authorized(http.HandlerFunc(s.oneModel)))
	mux.Handle("POST /v1/chat/completions", s.authorized(s.endpoint("chat", s.chatCompletions)))
	mux.Handle("POST /v1/completions", s.authorized(s.endpoint("completions", s.textCompletions)))
	mux.Handle("POST /v1/attention", s.authorized(s.endpoint("attention", s.attention)))
	for path, method := range map[string]string{
		"/{$}": "GET", "/health": "GET", "/metrics": "GET", "/v1/models": "GET", "/v1/models/{id...}": "GET", "/v1/chat/completions": "POST", "/v1/completions": "POST", "/v1/attention": "POST",
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			writeError(w, invalid("", "Not allowed to %s on %s (HINT: Perhaps you meant to use a different HTTP method?)", r.Method, r.URL.Path).withStatus(http.StatusMethodNotAllowed).withCode("method_not_supported"))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, invalid("", "Invalid URL (%s %s)", r.Method, r.URL.Path).withStatus(http.StatusNotFound).withCode("unknown_url"))
	})
	return mux
}

// authorized rejects requests without one of the API keys.
func (s *server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.keys) > 0 && s.key(r) < 0 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			message := "Incorrect API key provided."
			if r.Header.Get("Authorization") == "" {
				message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
			}
			writeError(w, invalid("", "%s", message).withStatus(http.StatusUnauthorized).withCode("invalid_api_key"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// key returns the index of a request's API key, or -1. All keys are compared, each in constant time.
func (s *server) key(r *http.Request) int {
	kind, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return -1
	}
	given, found := sha256.Sum256([]byte(strings.TrimSpace(key))), -1
	for i, known := range s.keys {
		if subtle.ConstantTimeCompare(given[:], known[:]) == 1 {
			found = i
		}
	}
	return found
}

// client is who sends a request, for taking turns: the owner of an API key if there are several, else
// an address.
func (s *server) client(r *http.Request) string {
	if len(s.keys) > 1 {
		return fmt.Sprintf("key %d", s.key(r))
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// endpoint reads a body, answers it by a function and reports the function's error.
func (s *server) endpoint(name string, answer func(http.ResponseWriter, *http.Request, *requestBody) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		body, err := s.readBody(w, r)
		defer body.free()
		if err == nil {
			listen.Answering(r) // until here, a new connection may take the place of this one
			err = guarded(answer, w, r, body)
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
		status := http.StatusOK
		switch {
		case err == nil:
		case errors.Is(err, errGone), errors.Is(err, context.Canceled) && r.Context().Err() != nil:
			status = statusGone
		case errors.Is(err, errSent):
			status = http.StatusInternalServerError
		default:
			status = apiErrorOf(err).status
			writeError(w, err)
		}
		s.metrics.request(name, status)
		slog.Debug("request", "endpoint", name, "client", s.client(r), "status", status, "seconds", time.Since(start).Seconds())
	})
}

// guarded answers a request; a fault in the program is an error of this one.
func guarded(answer func(http.ResponseWriter, *http.Request, *requestBody) error, w http.ResponseWriter, r *http.Request, body *requestBody) (err error) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		slog.Error("a request failed", "fault", fault, "stack", string(debug.Stack()))
		if err = fmt.Errorf("internal error: %v", fault); w.Header().Get("Content-Type") == streamType {
			err = (&stream{w: w}).end(err, nil)
		}
	}()
	return answer(w, r, body)
}

// statusGone is the status of a request whose client has left, as nginx counts it.
const statusGone = 499

// prepare makes scheduler's requests of a body. Few requests are prepared at a time, of clients in turn:
// decoding images and encoding text take processor time and memory.
func (s *server) prepare(r *http.Request, body *requestBody, parse func([]byte) ([]serve.Request, error)) ([]serve.Request, error) {
	done, err := s.preparing.Wait(r.Context(), s.client(r))
	if err != nil {
		return nil, errGone
	}
	defer done()
	defer body.free()
	return parse(body.data)
}

// common checks what all requests have in common and returns the scheduler's request without a prompt.
func (s *server) common(p *parameters) (serve.Request, error) {
	if p.Model != nil && *p.Model != s.model.ID && *p.Model != "" {
		return serve.Request{}, s.noModel(*p.Model)
	}
	if err := p.check(); err != nil {
		return serve.Request{}, err
	}
	return p.request(s.model.Config.Text.VocabSize)
}

func (s *server) noModel(name string) error {
	return invalid("model", "The model '%.100s' does not exist; this server has '%s'.", name, s.model.ID).withStatus(http.StatusNotFound).withCode("model_not_found")
}

// submit queues a request.
func (s *server) submit(ctx context.Context, r *http.Request, request serve.Request) (*serve.Answer, error) {
	request.Client, request.Ended = s.client(r), s.metrics.answer
	return s.scheduler.Submit(ctx, request)
}

// begin queues a request and waits for the first part of its answer: until then, an error still has a status.
func (s *server) begin(ctx context.Context, r *http.Request, request serve.Request) (*serve.Answer, serve.Event, error) {
	answer, err := s.submit(ctx, r, request)
	if err != nil {
		return nil, serve.Event{}, err
	}
	first, err := answer.Next(ctx)
	return answer, first, err
}

// modalities are what the model takes.
func (m model) modalities() []string {
	all := []string{"text"}
	if !m.Config.Vision.None() {
		all = append(all, "image")
	}
	if !m.Config.Audio.None() {
		all = append(all, "audio")
	}
	return all
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	status := "ok"
	w.Header().Set("Content-Type", "application/json")
	if s.scheduler.Stats().Lost {
		status = "unavailable"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, "{\"status\":%q}\n", status)
}

func (s *server) modelObject() map[string]any {
	return map[string]any{
		"id": s.model.ID, "object": "model", "created": s.model.Created.Unix(), "owned_by": "patchwork", "context_length": s.scheduler.Context(),
		"modalities": s.model.modalities(), "attention": !s.model.Config.Vision.None(),
	}
}

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	_ = writeJSON(w, map[string]any{"object": "list", "data": []any{s.modelObject()}}) // an error means that the client has gone
}

func (s *server) oneModel(w http.ResponseWriter, r *http.Request) {
	if name := r.PathValue("id"); name != s.model.ID {
		writeError(w, s.noModel(name))
		return
	}
	_ = writeJSON(w, s.modelObject()) // see models
}

// writeJSON writes a value as the response. Text of the model cannot be taken for markup: <, > and &
// are escaped.
func writeJSON(w http.ResponseWriter, v any) error {
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(v); err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(out.Bytes()); err != nil {
		return errGone
	}
	return nil
}
