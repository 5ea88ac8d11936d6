package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"patchwork/engine"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/serve"
	"patchwork/vlm/tokenizer"
)

// apiError is an error as OpenAI's API reports it.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`

	status     int
	retryAfter time.Duration
}

func (e *apiError) Error() string { return e.Message }

// Types of errors.
const (
	invalidRequest = "invalid_request_error"
	serverError    = "server_error"
	rateLimit      = "rate_limit_error"
)

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// invalid is a mistake in a parameter of the request.
func invalid(param, format string, args ...any) *apiError {
	return &apiError{Message: fmt.Sprintf(format, args...), Type: invalidRequest, Param: optional(param), status: http.StatusBadRequest}
}

func (e *apiError) withCode(code string) *apiError {
	e.Code = optional(code)
	return e
}

func (e *apiError) withStatus(status int) *apiError {
	e.status = status
	return e
}

// apiErrorOf returns an error of the scheduler, the template or the tokenizer as the API reports it.
func apiErrorOf(err error) *apiError {
	var api *apiError
	var busy *serve.BusyError
	var full *generate.ContextError
	var template *chat.TemplateError
	var pattern *tokenizer.PatternError
	var probe *generate.ProbeError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &busy):
		return tooBusy(busy.Error(), busy.RetryAfter)
	case errors.As(err, &full):
		return contextExceeded(full.Prompt, full.Context)
	case errors.As(err, &template), errors.As(err, &pattern), errors.As(err, &probe):
		return invalid("messages", "%v", err)
	case errors.Is(err, generate.ErrNoToken): // more alternatives than are followed, or letters that the model does not have
		return invalid("response_format", "the model cannot write an answer of this form: %v", err).withCode("invalid_json_schema")
	case errors.Is(err, chat.ErrNoTemplate):
		return invalid("messages", "the model has no chat template; use /v1/completions").withCode("no_chat_template")
	case errors.Is(err, context.DeadlineExceeded):
		return failure(http.StatusGatewayTimeout, "timeout", "the answer took more than %s", maxTime)
	case errors.Is(err, serve.ErrClosed), errors.Is(err, serve.ErrUnavailable):
		return failure(http.StatusServiceUnavailable, "unavailable", "%v", err)
	case errors.Is(err, engine.ErrDeviceLost):
		return failure(http.StatusServiceUnavailable, "device_lost", "the device was lost while it answered; the model is loaded again, try again")
	case errors.Is(err, engine.ErrOutOfMemory):
		return failure(http.StatusServiceUnavailable, "out_of_memory", "the device has no memory left for this request")
	}
	return failure(http.StatusInternalServerError, "", "%v", err)
}

func failure(status int, code, format string, args ...any) *apiError {
	return &apiError{Message: fmt.Sprintf(format, args...), Type: serverError, Code: optional(code), status: status}
}

func contextExceeded(prompt, context int) *apiError {
	return invalid("messages", "This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. Please reduce the length of the messages.", context, prompt).
		withCode("context_length_exceeded")
}

func tooBusy(message string, after time.Duration) *apiError {
	return &apiError{Message: message, Type: rateLimit, Code: optional("rate_limit_exceeded"), status: http.StatusTooManyRequests, retryAfter: after}
}

// errorBody is an error as a response's body.
func errorBody(e *apiError) []byte {
	body, err := json.Marshal(map[string]*apiError{"error": e})
	if err != nil {
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":null}}`)
	}
	return body
}

// writeError writes an error as the response.
func writeError(w http.ResponseWriter, err error) {
	e := apiErrorOf(err)
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	w.Write(errorBody(e)) // an error means that the client has gone
}
