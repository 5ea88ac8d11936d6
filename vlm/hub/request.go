package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// StatusError reports an HTTP status that retrying does not change.
type StatusError struct {
	URL    string
	Status int
	Reason string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %s (HTTP %d)", e.URL, e.Reason, e.Status)
}

// reasons are the meanings of statuses, and what to do.
var reasons = map[int]string{
	http.StatusUnauthorized: "the repository does not exist or is private; set HF_TOKEN to a token that may read it",
	http.StatusForbidden:    "access denied; accept the repository's conditions on its page, and set HF_TOKEN to your token",
	http.StatusNotFound:     "not found; check the name and the revision",
}

// codeReasons are the meanings of X-Error-Code, where the hub says more than by the status.
var codeReasons = map[string]string{
	"GatedRepo":        reasons[http.StatusForbidden],
	"RevisionNotFound": "no such revision; check what follows @",
}

func statusError(r *http.Response) error {
	reason := cmp.Or(codeReasons[r.Header.Get("X-Error-Code")], reasons[r.StatusCode])
	if reason == "" {
		reason = http.StatusText(r.StatusCode)
	}
	return &StatusError{printable(r.Request.URL.Redacted()), r.StatusCode, reason}
}

// busyError reports a status that asks to retry later.
type busyError struct {
	error
	after time.Duration
}

// request sends one request. Statuses of 400 and above are errors; otherwise the caller
// closes the body.
func (c *Client) request(ctx context.Context, client *http.Client, method, url string, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "patchwork-vlmtool")
	// Ranges and sizes must be those of the file, not of a compressed transfer.
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	sender := *client
	sender.Transport = &tokenTransport{c, client.Transport}
	r, err := sender.Do(req)
	if err != nil {
		return nil, err
	}
	if r.StatusCode < 400 {
		return r, nil
	}
	defer r.Body.Close()
	err = statusError(r)
	switch {
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusRequestTimeout, r.StatusCode >= 500:
		after := retryAfter(r.Header.Get("Retry-After"))
		if r.StatusCode == http.StatusTooManyRequests {
			after = max(after, rateLimitReset(r.Header.Get("RateLimit")))
		}
		return nil, &busyError{err, after}
	}
	return nil, err
}

// maxWait limits Retry-After.
const maxWait = 5 * time.Minute

func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 {
		return time.Duration(min(n, maxWait.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, time.Until(at)), maxWait)
	}
	return 0
}

// resetTime is the time until the limit is reset, in seconds, in a RateLimit header
// (draft-ietf-httpapi-ratelimit-headers): "resolvers";r=0;t=55.
var resetTime = regexp.MustCompile(`;\s*t=(\d+)`)

func rateLimitReset(s string) time.Duration {
	if m := resetTime.FindStringSubmatch(s); m != nil {
		return retryAfter(m[1])
	}
	return 0
}

// isPermanent reports whether retrying is useless.
func isPermanent(err error) bool {
	var status *StatusError
	var busy *busyError
	var local *localError
	var limit *LimitError
	return errors.As(err, &local) || errors.As(err, &limit) || errors.As(err, &status) && !errors.As(err, &busy)
}

func (e *busyError) Unwrap() error { return e.error }

// localError is an error of the local disk rather than the network.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// retry calls try until it succeeds, fails permanently, or has failed Attempts times in a
// row without progress.
func (c *Client) retry(ctx context.Context, try func() (progress bool, err error)) error {
	pause := c.Pause
	for attempts, failures := 0, 0; ; {
		progress, err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isPermanent(err):
			return err
		}
		if progress {
			attempts, failures, pause = 0, 0, c.Pause
		}
		attempts++
		if failures++; unreachable(err) {
			failures++
		}
		if failures >= c.Attempts {
			return fmt.Errorf("%w; gave up after %d attempts", err, attempts)
		}
		wait := time.Duration((0.75 + rand.Float64()/2) * float64(pause))
		var busy *busyError
		if errors.As(err, &busy) {
			wait = max(wait, busy.after)
		}
		c.note("%v; trying again in %s", err, wait.Round(100*time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// unreachable reports whether there was no connection at all, which retrying seldom fixes.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// errStalled is the cause of cancelling a request after the idle timeout.
var errStalled = errors.New("the connection stalled")

// idleReader resets a request's idle timer when bytes arrive.
type idleReader struct {
	r     io.Reader
	timer *time.Timer
	idle  time.Duration

	least, unseen int // bytes that must come before the timer is reset, and that have come
}

func (w *idleReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.unseen += n; w.unseen >= w.least {
		w.timer.Reset(w.idle)
		w.unseen = 0
	}
	return n, err
}

// withIdleTimeout returns a context that is cancelled when nothing was read for c.Idle.
func (c *Client) withIdleTimeout(ctx context.Context) (context.Context, *idleReader, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.Idle, func() { cancel(errStalled) })
	return ctx, &idleReader{timer: timer, idle: c.Idle}, func() { timer.Stop(); cancel(nil) }
}
