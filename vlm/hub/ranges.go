package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// minSpeed is the number of bytes within the idle timeout below which a connection has stalled.
const minSpeed = 16 << 10

// maxRedirects is that of net/http.
const maxRedirects = 10

// readRange requests the bytes [from, to) of a file and calls read with them. The hub redirects
// to its storage, whose address is used for later requests until it is refused: the hub limits
// how often it is asked, and its addresses expire.
func (s *Stream) readRange(ctx context.Context, f *RemoteFile, from, to int64, read func(io.Reader) error) error {
	direct := f.storageURL()
	err := s.requestRange(ctx, f, direct, from, to, read)
	if err == nil || direct == "" {
		return err
	}
	f.forgetStorage(direct)
	var status *StatusError
	var answer *responseError
	if errors.As(err, &status) || errors.As(err, &answer) { // nothing was read
		return s.requestRange(ctx, f, "", from, to, read)
	}
	return err
}

func (s *Stream) requestRange(ctx context.Context, f *RemoteFile, direct string, from, to int64, read func(io.Reader) error) error {
	ctx, w, stop := s.client.withIdleTimeout(ctx)
	defer stop()
	w.least = minSpeed
	address := direct
	if address == "" {
		address = s.client.resolve(f.repo, f.file.Path)
	}
	var tags linkedTags
	client := *s.client.HTTP
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return &responseError{"the hub redirects without end"}
		}
		tags.read(s.client, r.Response)
		return nil
	}
	s.blocks.requests.Add(1)
	resp, err := s.client.request(ctx, &client, http.MethodGet, address, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", from, to-1)})
	if err != nil {
		return s.rangeError(cause(ctx, err))
	}
	defer resp.Body.Close()
	tags.read(s.client, resp)
	if err := checkRange(resp, f.file.Size, from, to); err != nil {
		return err
	}
	if err := f.checkVersion(tags, resp); err != nil {
		return err
	}
	if !s.client.sameOrigin(resp.Request.URL) {
		f.setStorage(resp.Request.URL.String())
	}
	w.r = resp.Body
	return cause(ctx, read(w))
}

// rangeError classifies the error of a request. What the storage refuses, the hub may allow
// again at another address.
func (s *Stream) rangeError(err error) error {
	var status *StatusError
	var busy *busyError
	if !errors.As(err, &status) || errors.As(err, &busy) {
		return err
	}
	if status.Status == http.StatusRequestedRangeNotSatisfiable {
		return &responseError{"the file is shorter than the hub lists it (HTTP 416): it has changed, or the mirror is out of date"}
	}
	if at, parseErr := url.Parse(status.URL); parseErr == nil && !s.client.sameOrigin(at) {
		return &responseError{fmt.Sprintf("the hub's storage at %s refuses it (HTTP %d)", host(status.URL), status.Status)}
	}
	return err
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// checkRange checks that a response has bytes from the offset on, of a file of the given size.
// It may have fewer than requested.
func checkRange(r *http.Response, size, from, to int64) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return &responseError{"the answer is compressed although that was not asked for; check the proxy"}
	}
	switch {
	case r.StatusCode == http.StatusOK && from == 0 && to == size && (r.ContentLength < 0 || r.ContentLength == size):
		return nil
	case strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"):
		return &responseError{"a web page came in place of the file; check whether the network asks for a login"}
	case r.StatusCode == http.StatusOK:
		return &responseError{"the server sends no parts of files; download them with vlmtool fetch"}
	case r.StatusCode != http.StatusPartialContent:
		return &responseError{fmt.Sprintf("the server answers a request for a part of the file with HTTP %d", r.StatusCode)}
	}
	m := contentRange.FindStringSubmatch(r.Header.Get("Content-Range"))
	if m == nil {
		return &responseError{fmt.Sprintf("the server sends an unreadable Content-Range: %s", printable(r.Header.Get("Content-Range")))}
	}
	first, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	if total, err := strconv.ParseInt(m[3], 10, 64); err == nil && total != size {
		return &responseError{fmt.Sprintf("the file has %d bytes and was listed with %d: it has changed, or the mirror is out of date", total, size)}
	}
	if first != from || last < from || last >= to {
		return &responseError{fmt.Sprintf("the server sends the bytes %d-%d of the file in place of %d-%d", first, last, from, to-1)}
	}
	return nil
}

// linkedTags are the hub's headers about a file, which are in its redirect to the storage or in
// its own answer.
type linkedTags struct{ etag, commit string }

func (t *linkedTags) read(c *Client, r *http.Response) {
	if r == nil || r.Request == nil || !c.sameOrigin(r.Request.URL) {
		return
	}
	if commit := r.Header.Get("X-Repo-Commit"); commit != "" {
		t.commit = commit
	}
	if tag := r.Header.Get("X-Linked-ETag"); tag != "" {
		t.etag = tag
	} else if r.StatusCode < 300 {
		t.etag = r.Header.Get("ETag")
	}
}

// checkVersion compares the version of an answer with the listed one, and with that of earlier
// answers.
func (f *RemoteFile) checkVersion(tags linkedTags, r *http.Response) error {
	changed := &responseError{"the file is not the one that the hub listed: it has changed, or the mirror is out of date"}
	if isCommit(f.repo.Revision) && isCommit(tags.commit) && tags.commit != f.repo.Revision {
		return changed
	}
	known := false
	for _, want := range []string{f.file.SHA256, f.file.Blob} {
		if got := parseHash(tags.etag, len(want)); want != "" && got != "" {
			if got != want {
				return changed
			}
			known = true
		}
	}
	at, tag := r.Request.URL.Host, r.Header.Get("ETag")
	if tag == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if before := f.etags[at]; before != "" && before != tag && !known {
		return changed
	}
	if f.etags == nil {
		f.etags = map[string]string{}
	}
	f.etags[at] = tag
	return nil
}
