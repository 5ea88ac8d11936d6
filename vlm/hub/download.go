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

// HashError reports a file that was downloaded twice with a wrong hash.
type HashError struct{ Path, Got, Want string }

func (e *HashError) Error() string {
	return fmt.Sprintf("%s: the downloaded file has hash %s, want %s; the network or the mirror corrupts it", e.Path, e.Got, e.Want)
}

// hasher returns the hash by which the hub identifies a file, and its value.
func (f File) hasher() (hash.Hash, string) {
	if f.SHA256 != "" {
		return sha256.New(), f.SHA256
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.Size) // git's blob hash
	return h, f.Blob
}

// version identifies a version of the file: its hash or, if the hub does not report one, the
// commit.
func (f File) version(r Repo) string {
	if !f.hashed() {
		return r.Revision
	}
	_, want := f.hasher()
	return want
}

// check compares a file on disk with the hub's hash. For a missing file or a wrong size, ok
// is false and err nil.
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

// contextReader is a reader that fails when its context is cancelled.
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

// download fetches one file into dir and calls bytes for every change in the number of bytes
// on disk. A file that exists with the right hash is kept.
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

// fetchMetadata requests the size and hash of a file, which are in the headers of the hub's
// redirect to its storage.
func (c *Client) fetchMetadata(ctx context.Context, r Repo, f File) (File, error) {
	noRedirect := *c.HTTP
	// Redirects within the hub (of a renamed repository) are followed. The one to the
	// storage has the headers.
	noRedirect.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if !c.sameOrigin(req.URL) || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	err := c.retry(ctx, func() (bool, error) {
		ctx, _, stop := c.withIdleTimeout(ctx)
		defer stop()
		resp, err := c.request(ctx, &noRedirect, http.MethodHead, c.resolve(r, f.Path), nil)
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
		return f, fmt.Errorf("%s: %s does not report its size, so a truncated download could not be detected", f.Path, printableURL(c.Endpoint))
	}
	if !f.hashed() {
		c.note("%s: %s does not report its hash; only the size is checked", f.Path, printableURL(c.Endpoint))
	}
	return f, nil
}

// transfer appends to part until it has the file's size, resuming after lost connections.
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

// attempt requests the rest of the file from offset at once, and appends what arrives.
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
		bytes(-*at) // the server ignored Range: start again
		*at = 0
	}
	// Truncate before copying, not after: by then another process may have verified and
	// renamed the file, which must not be touched.
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

// isContinuation reports whether a response has the content from offset at on.
func isContinuation(r *http.Response, at int64) bool {
	return r.StatusCode == http.StatusPartialContent && strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at))
}

var (
	errCut       = errors.New("the connection was lost")
	errFileMoved = errors.New("another fetch moved or removed it; wait until it ends")
)

// cause returns the reason why a request ended.
func cause(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return errStalled
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return err
}

// countingWriter writes to a file and reports the bytes written. Its errors are
// *localErrors.
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

// finish renames a verified file to its path.
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
