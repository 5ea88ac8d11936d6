package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"patchwork/internal/folderlock"
	"patchwork/internal/smallfile"
)

// HashError is a file that arrived whole and wrong, twice.
type HashError struct{ Path, Got, Want string }

func (e *HashError) Error() string {
	return fmt.Sprintf("%s: what arrives has the hash %s, the hub says %s; the network or the mirror damages it", e.Path, e.Got, e.Want)
}

// hasher computes what the hub knows of a file, and the hub's value.
func (f File) hasher() (hash.Hash, string) {
	if f.SHA256 != "" {
		return sha256.New(), f.SHA256
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.Size) // as git hashes a file
	return h, f.Blob
}

// version is what tells a file from others of its name: the hub's hash of it, or the commit.
func (f File) version(r Repo) string {
	if !f.hashed() {
		return r.Revision
	}
	_, want := f.hasher()
	return want
}

// check compares a file on disk with the hub's hash. A file that is not there or
// has another size is no error.
func (f File) check(ctx context.Context, path string) (got string, ok bool, err error) {
	file, err := smallfile.Open(path, math.MaxInt64)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	} else if err != nil {
		return "", false, &localError{err}
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() != f.Size {
		return "", false, err
	}
	if !f.hashed() {
		return "", true, nil
	}
	h, want := f.hasher()
	if _, err := io.Copy(h, &contextReader{ctx, file}); err != nil {
		return "", false, &localError{err}
	}
	got = hex.EncodeToString(h.Sum(nil))
	return got, got == want, nil
}

// cancelled is a reader that ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// download brings one file below dir and reports every change of the number of
// its bytes that are here. A file that is there already is checked and left.
func (c *Client) download(ctx context.Context, r Repo, f File, dir string, bytes func(delta int64)) (downloaded int64, err error) {
	path := filepath.Join(dir, filepath.FromSlash(f.Path))
	if _, ok, err := f.check(ctx, path); ok || err != nil {
		bytes(f.Size)
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	want := f.version(r)
	part := partName(path, want)
	var got string
	for range 2 {
		n, err := c.transfer(ctx, r, f, part, bytes)
		downloaded += n
		if err != nil {
			return downloaded, err
		}
		var ok bool
		if got, ok, err = f.check(ctx, part); err != nil {
			return downloaded, err
		} else if ok {
			return downloaded, finish(part, path)
		}
		bytes(-f.Size)
		if err := os.Remove(part); err != nil {
			return downloaded, err
		}
	}
	return downloaded, &HashError{f.Path, got, want}
}

// describe asks for the size and the hash of a file, which the hub puts into the
// headers of the answer that leads to it.
func (c *Client) fetchMetadata(ctx context.Context, r Repo, f File) (File, error) {
	stay := *c.HTTP
	// Relative redirects stay on the hub (a repository that was renamed); the one
	// that leaves it is the answer.
	stay.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if !c.sameOrigin(req.URL) || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	err := c.retry(ctx, func() (bool, error) {
		ctx, _, stop := c.withIdleTimeout(ctx)
		defer stop()
		resp, err := c.request(ctx, &stay, http.MethodHead, c.resolve(r, f.Path), nil)
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		f.Size = resp.ContentLength
		if n := resp.Header.Get("X-Linked-Size"); n != "" {
			if f.Size, err = strconv.ParseInt(n, 10, 64); err != nil {
				f.Size = -1
			}
		}
		tag := resp.Header.Get("X-Linked-ETag")
		if tag == "" {
			tag = resp.Header.Get("ETag")
		}
		f.SHA256, f.Blob = parseHash(tag, 64), parseHash(tag, 40)
		return false, nil
	})
	if err != nil {
		return f, fmt.Errorf("%s: %w", f.Path, err)
	}
	if f.Size < 0 {
		return f, fmt.Errorf("%s: %s does not tell its size, so that a cut could not be seen", f.Path, printableURL(c.Endpoint))
	}
	if !f.hashed() {
		c.note("%s: %s does not tell its hash; only the size is checked", f.Path, printableURL(c.Endpoint))
	}
	return f, nil
}

// transfer appends to part until it has the file's size, however often the
// connection is cut.
func (c *Client) transfer(ctx context.Context, r Repo, f File, part string, bytes func(delta int64)) (downloaded int64, err error) {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	at, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if at > f.Size {
		at = 0
	}
	bytes(at)
	err = c.retry(ctx, func() (bool, error) {
		before := at
		err := c.attempt(ctx, r, f, out, &at, bytes)
		downloaded += max(0, at-before)
		return at > before, err
	})
	if err == nil {
		err = out.Sync()
	}
	return downloaded, err
}

// attempt asks once for what is missing behind at and writes what comes.
func (c *Client) attempt(ctx context.Context, r Repo, f File, out *os.File, at *int64, bytes func(delta int64)) error {
	if *at == f.Size {
		return nil
	}
	ctx, w, stop := c.withIdleTimeout(ctx)
	defer stop()
	header := map[string]string{}
	if *at > 0 {
		header["Range"] = fmt.Sprintf("bytes=%d-", *at)
	}
	resp, err := c.request(ctx, c.HTTP, http.MethodGet, c.resolve(r, f.Path), header)
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if *at > 0 && !isContinuation(resp, *at) {
		bytes(-*at) // the server knows no ranges: from the start
		*at = 0
	}
	// What is cut off is cut here and not behind the copying, when somebody may have
	// checked the file and given it its name: nothing of that one is touched.
	if !folderlock.Named(out) {
		return &localError{fmt.Errorf("%s: %w", out.Name(), errFileMoved)}
	}
	if err := out.Truncate(*at); err != nil {
		return &localError{err}
	}
	if _, err := out.Seek(*at, io.SeekStart); err != nil {
		return &localError{err}
	}
	w.r = io.LimitReader(resp.Body, f.Size-*at)
	n, err := io.Copy(&countingWriter{out, bytes}, w)
	*at += n
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w after %d of %d bytes", f.Path, cause(ctx, err), *at, f.Size)
	case *at < f.Size:
		return fmt.Errorf("%s: %w after %d of %d bytes", f.Path, errCut, *at, f.Size)
	}
	return nil
}

// continues reports whether an answer holds what is behind at.
func isContinuation(r *http.Response, at int64) bool {
	return r.StatusCode == http.StatusPartialContent && strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at))
}

var (
	errCut       = errors.New("the connection was cut")
	errFileMoved = errors.New("another fetch has moved or removed it; wait for its end")
)

// cause names what ended a request.
func cause(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return errStalled
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return err
}

// counted writes to a file and reports what is written; its errors are the
// disk's.
type countingWriter struct {
	f     *os.File
	bytes func(delta int64)
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.f.Write(p)
	c.bytes(int64(n))
	if err != nil {
		err = &localError{err}
	}
	return n, err
}

// finish gives a checked file its name.
func finish(part, path string) error {
	if err := os.Rename(part, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
