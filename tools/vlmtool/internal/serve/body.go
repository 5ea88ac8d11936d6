package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"
)

// Limits of requests.
const (
	maxBody    = 64 << 20         // bytes of a body
	maxBodies  = 4 * maxBody      // bytes of all bodies that are being read
	headTime   = 20 * time.Second // to send the head of a request; a machine that is busy may take seconds to read it
	bodyTime   = 60 * time.Second // to send a request
	writeTime  = 30 * time.Second // to take a part of the answer
	maxTime    = 60 * time.Minute // of an answer, with its wait
	busyBodies = 5 * time.Second  // Retry-After while all bodies together are too large
	bodyPiece  = 64 << 10         // bytes
)

// budget is memory that requests share, in bytes. One client leaves others room for the largest body.
type budget struct {
	mu    sync.Mutex
	left  int64
	taken map[string]int64 // by client, while it has any
}

func (b *budget) take(client string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left || b.taken[client]+n > maxBodies-maxBody-bodyPiece {
		return false
	}
	b.left -= n
	b.taken[client] += n
	return true
}

func (b *budget) give(client string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if b.taken[client] -= n; b.taken[client] == 0 {
		delete(b.taken, client)
	}
}

// requestBody is a body in memory of the budget.
type requestBody struct {
	data   []byte
	taken  int64
	client string
	from   *budget
}

// free returns the memory.
func (b *requestBody) free() {
	b.from.give(b.client, b.taken)
	b.data, b.taken = nil, 0
}

// readBody reads a body; it is freed by the caller, after an error too.
func (s *server) readBody(w http.ResponseWriter, r *http.Request) (*requestBody, error) {
	b := &requestBody{client: s.client(r), from: &s.bodies}
	if kind := r.Header.Get("Content-Encoding"); kind != "" && kind != "identity" {
		return b, invalid("", "Content-Encoding %.40q is not supported", kind).withStatus(http.StatusUnsupportedMediaType)
	}
	from := http.MaxBytesReader(w, r.Body, maxBody)
	var out bytes.Buffer
	for {
		if !s.bodies.take(b.client, bodyPiece) {
			return b, tooBusy("other requests with large bodies are being read; try again", busyBodies)
		}
		b.taken += bodyPiece
		_, err := io.CopyN(&out, from, bodyPiece)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return b, bodyError(err)
		}
	}
	b.data = out.Bytes()
	// The answer may take longer than the request, and the client is watched while it does.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return b, nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	var slow net.Error
	switch {
	case errors.As(err, &large):
		return invalid("", "the request has more than %d MiB", maxBody>>20).withStatus(http.StatusRequestEntityTooLarge).withCode("request_too_large")
	case errors.As(err, &slow) && slow.Timeout():
		return invalid("", "the request took more than %s to arrive", bodyTime).withStatus(http.StatusRequestTimeout)
	}
	return invalid("", "the request could not be read: %v", err)
}

// decode decodes a JSON object. Unknown fields are ignored, as in OpenAI's API.
func decode(body []byte, to any) error {
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return invalid("", "We could not parse the JSON body of your request: want a JSON object")
	}
	err := json.Unmarshal(body, to)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		field := strings.TrimPrefix(wrong.Field, "parameters.") // the embedded struct
		return invalid(field, "Invalid type for '%s': expected %s, but got %s instead.", field, typeName(wrong.Type), article(wrong.Value)).withCode("invalid_type")
	case err != nil:
		return invalid("", "We could not parse the JSON body of your request: %v", err)
	}
	return nil
}

// typeName is the name of a type in JSON.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

func article(value string) string {
	switch {
	case value == "bool":
		return "a boolean"
	case value == "array" || value == "object":
		return "an " + value
	case strings.HasPrefix(value, "number"):
		return "a " + value // with the number
	}
	return "a " + value
}

// absent reports whether a field is missing or null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
