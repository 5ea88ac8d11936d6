//go:build js

package main

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"syscall/js"

	"patchwork/tools/vlmtool/internal/inpage"
)

// requests are the page's requests that are being answered.
type requests struct {
	handler http.Handler
	mu      sync.Mutex
	cancel  map[int]context.CancelFunc // by the page's number
}

func newRequests(h http.Handler) *requests {
	return &requests{handler: h, cancel: map[int]context.CancelFunc{}}
}

// serve answers a request: by a message with the head, then with parts of the body, then the end.
func (r *requests) serve(ctx context.Context, id int, method, path string, body []byte) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.cancel[id] = cancel
	r.mu.Unlock()
	w := &response{id: id, header: http.Header{}}
	defer func() {
		r.abort(id)
		w.WriteHeader(http.StatusOK)
		inpage.Post(map[string]any{"kind": "end", "id": id})
	}()
	request, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	request.Header.Set("Content-Type", "application/json")
	request.RemoteAddr = "page"
	r.handler.ServeHTTP(w, request)
}

// abort ends a request.
func (r *requests) abort(id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.cancel[id]; cancel != nil {
		delete(r.cancel, id)
		cancel()
	}
}

// response sends what is written to the page, as it is written.
type response struct {
	id     int
	header http.Header
	begun  bool
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.begun {
		return
	}
	w.begun = true
	headers := map[string]any{}
	for name := range w.header {
		headers[name] = w.header.Get(name)
	}
	inpage.Post(map[string]any{"kind": "head", "id": w.id, "status": status, "headers": headers})
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	data := js.Global().Get("Uint8Array").New(len(p))
	js.CopyBytesToJS(data, p)
	inpage.Post(map[string]any{"kind": "data", "id": w.id, "data": data})
	return len(p), nil
}

// Flush is for handlers that stream: everything is sent at once.
func (w *response) Flush() {}
