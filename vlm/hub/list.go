package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Limits on a listing. The hub's pages have a thousand files and some 300 KB, its largest
// repositories a hundred thousand files.
const (
	maxListing = 64 << 20 // bytes of a response
	maxFiles   = 1 << 20
	maxPages   = 1 << 12
)

// LimitError reports a listing that is larger than any real one.
type LimitError struct{ Reason string }

func (e *LimitError) Error() string {
	return e.Reason + ", which no repository has; check HF_ENDPOINT"
}

// limitedList is a JSON array of at most maxFiles entries. The limit is applied while
// decoding: an entry takes a hundred bytes of memory, but only three in the response.
type limitedList[T any] []T

func (b *limitedList[T]) UnmarshalJSON(text []byte) error {
	*b = nil
	if string(text) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return errors.New("not a JSON array")
	}
	for d.More() {
		if len(*b) == maxFiles {
			return &LimitError{fmt.Sprintf("the listing has more than %d files", maxFiles)}
		}
		var one T
		if err := d.Decode(&one); err != nil {
			return err
		}
		*b = append(*b, one)
	}
	return nil
}

// List lists the files of a repository. The returned Repo has its kind, and as revision the
// commit of the given revision, so that all files are of the same commit.
func (c *Client) List(ctx context.Context, r Repo) (Repo, []File, error) {
	if r.Kind != Any {
		return c.list(ctx, r)
	}
	r.Kind = Model
	found, files, err := c.list(ctx, r)
	if !missing(err) {
		return found, files, err
	}
	r.Kind = Dataset
	if found, files, second := c.list(ctx, r); !missing(second) {
		return found, files, second
	}
	return r, nil, err
}

func missing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusUnauthorized)
}

// revision is the hub's response about a revision of a repository.
type revision struct {
	SHA      string               `json:"sha"`
	Siblings limitedList[sibling] `json:"siblings"`
}

type sibling struct {
	Name string `json:"rfilename"`
}

// entry is an entry of a listing.
type entry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

func (e entry) file() File {
	f := File{Path: e.Path, Size: e.Size}
	switch {
	case e.LFS != nil:
		f.SHA256, f.Size = parseHash(e.LFS.OID, 64), e.LFS.Size
	default:
		f.Blob = parseHash(e.OID, 40)
	}
	f.Size = max(f.Size, -1)
	return f
}

// parseHash returns the hexadecimal hash of the given number of digits in a hash or ETag, or
// "".
func parseHash(s string, digits int) string {
	s = strings.TrimPrefix(strings.ToLower(strings.Trim(strings.TrimPrefix(s, "W/"), `"`)), "sha256:")
	if len(s) != digits || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

func (c *Client) list(ctx context.Context, r Repo) (Repo, []File, error) {
	r, names, err := c.commit(ctx, r)
	if err != nil {
		return r, nil, err
	}
	entries, err := c.entries(ctx, r, "", true)
	files := filesOf(entries)
	if isNotFound(err) && len(names) > 0 {
		files, err = unlistedFiles(names), nil
	}
	if err != nil {
		return r, nil, err
	}
	for _, f := range files {
		if !isLocalName(f.Path) {
			return r, nil, fmt.Errorf("%s lists a file named %s, which would be outside the folder; nothing was fetched", r, printable(f.Path))
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return r, files, nil
}

// commit returns the repository at the commit of its revision, and the names of its files.
func (c *Client) commit(ctx context.Context, r Repo) (Repo, []string, error) {
	var at revision
	if _, err := c.json(ctx, c.api(r, "revision"), &at); err != nil {
		return r, nil, err
	}
	// The commit becomes part of URLs and file names.
	if !isCommit(at.SHA) {
		return r, nil, fmt.Errorf("%s: %s names the commit %s, want 40 hexadecimal digits; check HF_ENDPOINT", r, printableURL(c.Endpoint), printable(at.SHA))
	}
	r.Revision = at.SHA
	var names []string
	for _, s := range at.Siblings {
		names = append(names, s.Name)
	}
	return r, names, nil
}

// isCommit reports whether a revision is a whole commit hash.
func isCommit(revision string) bool { return revision != "" && parseHash(revision, 40) == revision }

// unlistedFiles are the files of a mirror without listings. Their sizes and hashes are
// requested later.
func unlistedFiles(names []string) []File {
	var files []File
	for _, name := range names {
		files = append(files, File{Path: name, Size: -1})
	}
	return files
}

func filesOf(entries []entry) []File {
	var files []File
	for _, e := range entries {
		if e.Type == "file" {
			files = append(files, e.file())
		}
	}
	return files
}

func isNotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status == http.StatusNotFound
}

// entries reads all pages of the listing of a folder; "" is the root.
func (c *Client) entries(ctx context.Context, r Repo, folder string, recursive bool) ([]entry, error) {
	var all []entry
	next := c.api(r, "tree")
	if folder != "" {
		next += "/" + escape(folder)
	}
	if recursive {
		next += "?recursive=true"
	}
	for seen := map[string]bool{}; next != "" && !seen[next]; {
		seen[next] = true
		if len(seen) > maxPages {
			return nil, &LimitError{fmt.Sprintf("the listing has more than %d pages", maxPages)}
		}
		var page limitedList[entry]
		header, err := c.json(ctx, next, &page)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) > maxFiles {
			return nil, &LimitError{fmt.Sprintf("the listing has more than %d files", maxFiles)}
		}
		if next, err = c.nextPage(header); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var nextLink = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextPage returns the URL of the next page in a Link header (RFC 8288), or "" on the last
// page. A URL of another origin is an error.
func (c *Client) nextPage(h http.Header) (string, error) {
	m := nextLink.FindStringSubmatch(strings.Join(h.Values("Link"), ","))
	if m == nil {
		return "", nil
	}
	base, err := url.Parse(c.Endpoint)
	if err != nil {
		return "", err
	}
	to, err := base.Parse(m[1])
	if err != nil || !c.sameOrigin(to) {
		return "", fmt.Errorf("the listing continues at %s, which is not %s; nothing was fetched; check HF_ENDPOINT", printableURL(m[1]), printableURL(c.Endpoint))
	}
	return to.String(), nil
}

// json decodes a response of the API.
func (c *Client) json(ctx context.Context, url string, to any) (header http.Header, err error) {
	err = c.retry(ctx, func() (bool, error) {
		ctx, w, stop := c.withIdleTimeout(ctx)
		defer stop()
		r, err := c.request(ctx, c.HTTP, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		w.r = io.LimitReader(r.Body, maxListing+1)
		text, err := io.ReadAll(w)
		if err != nil {
			return false, fmt.Errorf("%s: %w", printableURL(url), err)
		}
		if len(text) > maxListing {
			return false, &LimitError{fmt.Sprintf("%s: the response has more than %d MiB", printableURL(url), maxListing>>20)}
		}
		header = r.Header
		err = json.Unmarshal(text, to)
		var limit *LimitError
		if errors.As(err, &limit) {
			return false, limit
		}
		if err != nil {
			return false, fmt.Errorf("%s: the response is not a hub's (%w); check HF_ENDPOINT", printableURL(url), err)
		}
		return false, nil
	})
	return header, err
}
