package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// OutageError reports bytes that could not be read for as long as reads wait.
type OutageError struct {
	Reason string
	For    time.Duration
}

func (e *OutageError) Error() string {
	return fmt.Sprintf("%s for %s; a longer --data-timeout waits longer", e.Reason, duration(e.For))
}

// responseError reports a response that is not what was asked for. It is requested again a few
// times: a proxy or a mirror may answer correctly the next time.
type responseError struct{ reason string }

func (e *responseError) Error() string { return e.reason }

// minProgress is the number of bytes after which a request that fails was not in vain.
const minProgress = 64 << 10

// retry calls try until it succeeds, is refused, has been answered wrongly for some time, or has
// failed for the stream's timeout. try returns how many bytes it read.
func (s *Stream) retry(ctx context.Context, f *RemoteFile, try func() (int64, error)) (failed error) {
	failing := &failure{outage: &s.outage}
	defer func() { failing.end(failed == nil) }()
	pause, wrong := s.pause, 0
	for {
		if err := s.gate.wait(ctx); err != nil {
			return err
		}
		start := time.Now()
		n, err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isPermanent(err):
			return s.explain(f.repo, err)
		}
		if n >= minProgress {
			failing.end(true)
			failing, pause, wrong, start = &failure{outage: &s.outage}, s.pause, 0, time.Now()
		}
		var answer *responseError
		if errors.As(err, &answer) {
			if wrong++; wrong >= s.client.Attempts && failing.lasted(start) >= s.patience() {
				return fmt.Errorf("%w; gave up after %d attempts", answer, wrong)
			}
		}
		wait := s.pauseAfter(err, pause)
		left, ok := failing.add(err, start, wait)
		if !ok {
			return &OutageError{reason(err), s.o.Timeout}
		}
		select {
		case <-time.After(min(wait, left)):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// maxPatience is how long wrong answers are requested again.
const maxPatience = 2 * time.Minute

func (s *Stream) patience() time.Duration {
	if s.o.Timeout > 0 {
		return min(maxPatience, s.o.Timeout)
	}
	return maxPatience
}

// pauseAfter returns a pause of about the given length, or the one that a busy hub asks for, which
// holds for all requests.
func (s *Stream) pauseAfter(err error, pause time.Duration) time.Duration {
	wait := time.Duration((0.75 + rand.Float64()/2) * float64(pause))
	var busy *busyError
	if errors.As(err, &busy) && busy.after > 0 {
		s.gate.close(busy.after)
		wait = max(wait, busy.after)
	}
	return wait
}

// outage is what a stream reports about requests that keep failing: one line when the first
// does, one when none does any more.
type outage struct {
	stream *Stream

	mu      sync.Mutex
	failing int // requests that were reported
	since   time.Time
}

// failure is a request that fails for some time.
type failure struct {
	outage   *outage
	since    time.Time
	times    int
	reported bool
}

// reportAfter is the number of failures in a row, and longWait the time without data or the wait
// for a busy hub, that are reported.
const (
	reportAfter = 5
	longWait    = 10 * time.Second
)

// lasted returns the time since the first failure, which may be that of the request that started
// at the given time.
func (f *failure) lasted(start time.Time) time.Duration {
	if f.times == 0 {
		return time.Since(start)
	}
	return time.Since(f.since)
}

// add counts a failure of a request that started at the given time. It returns the time until
// the stream's timeout; ok is false when that has passed.
func (f *failure) add(err error, start time.Time, wait time.Duration) (left time.Duration, ok bool) {
	o, now := f.outage, time.Now()
	if f.times++; f.times == 1 {
		f.since = start
	}
	timeout := o.stream.o.Timeout
	left = wait
	if timeout > 0 {
		if left = timeout - now.Sub(f.since); left <= 0 {
			return 0, false
		}
	}
	if !f.reported && (f.times >= reportAfter || max(wait, now.Sub(f.since)) >= longWait) {
		f.reported = true
		o.report(err, f.since)
	}
	return left, true
}

// end is called when data arrives, or when the request is given up.
func (f *failure) end(arrives bool) {
	if !f.reported {
		return
	}
	o := f.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failing--; o.failing == 0 && arrives {
		o.stream.note("reading from the hub goes on after %s", duration(time.Since(o.since)))
	}
	f.reported = false
}

func (o *outage) report(err error, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failing++; o.failing > 1 {
		return
	}
	o.since = since
	limit := "until data arrives"
	if t := o.stream.o.Timeout; t > 0 {
		limit = "for up to " + duration(t)
	}
	o.stream.warn("reading from the hub: %s; trying again %s", reason(err), limit)
}

// gate is closed while the hub asks to wait.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

func (g *gate) close(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.until) {
		g.until = until
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	d := time.Until(g.until)
	g.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain makes the error of a file of a repository one that says what to do.
func (s *Stream) explain(r Repo, err error) error {
	var status *StatusError
	if errors.As(err, &status) {
		return s.refused(r, status)
	}
	return err
}

// reason is what failed, without addresses that may hold a signature.
func reason(err error) string {
	var status *StatusError
	var request *url.Error
	var name *net.DNSError
	switch {
	case errors.Is(err, errStalled):
		return errStalled.Error()
	case errors.As(err, &status):
		return fmt.Sprintf("%s answers %s (HTTP %d)", host(status.URL), strings.ToLower(status.Reason), status.Status)
	case errors.As(err, &name):
		return fmt.Sprintf("%s cannot be found (%s)", name.Name, name.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errCut):
		return errCut.Error()
	case errors.As(err, &request):
		return fmt.Sprintf("%s cannot be reached (%v)", host(request.URL), innermost(request))
	}
	return innermost(err).Error()
}

// innermost returns the first cause of an error.
func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

func host(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return printable(u.Host)
	}
	return "the hub"
}

// duration formats a duration without units that are zero.
func duration(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
