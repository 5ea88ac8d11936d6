package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxListing bounds one page of a listing, in bytes.
const maxListing = 64 << 20

// List names the files of a repository. The repository comes back with its kind
// and, as its revision, the commit that the given one stands for, so that all
// files are of one commit.
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

// revision is the hub's answer about a repository at a revision.
type revision struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

// entry is one line of a listing.
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
		f.SHA256, f.Size = hashOf(e.LFS.OID, 64), e.LFS.Size
	default:
		f.Blob = hashOf(e.OID, 40)
	}
	return f
}

// hashOf is s where it is a hexadecimal hash of so many digits, else "".
func hashOf(s string, digits int) string {
	s = strings.TrimPrefix(strings.ToLower(strings.Trim(strings.TrimPrefix(s, "W/"), `"`)), "sha256:")
	if len(s) != digits || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

func (c *Client) list(ctx context.Context, r Repo) (Repo, []File, error) {
	var at revision
	_, err := c.json(ctx, c.api(r, "revision"), &at)
	if err != nil {
		return r, nil, err
	}
	if at.SHA != "" {
		r.Revision = at.SHA
	}
	files, err := c.tree(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound && len(at.Siblings) > 0 {
		// A mirror without listings: names alone, the rest when a file's turn comes.
		files, err = nil, nil
		for _, s := range at.Siblings {
			files = append(files, File{Path: s.Name, Size: -1})
		}
	}
	if err != nil {
		return r, nil, err
	}
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return r, nil, fmt.Errorf("%s lists a file called %q, which would lie outside of the folder; nothing was fetched", r, f.Path)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return r, files, nil
}

// tree reads the listing, page by page.
func (c *Client) tree(ctx context.Context, r Repo) ([]File, error) {
	var files []File
	next := c.api(r, "tree") + "?recursive=true"
	for seen := map[string]bool{}; next != "" && !seen[next]; {
		seen[next] = true
		var page []entry
		header, err := c.json(ctx, next, &page)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Type == "file" {
				files = append(files, e.file())
			}
		}
		next = c.nextPage(header)
	}
	return files, nil
}

var nextLink = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextPage is the address in a Link header (RFC 8288), "" on the last page and
// where it leads away from the hub, to which the token belongs.
func (c *Client) nextPage(h http.Header) string {
	m := nextLink.FindStringSubmatch(strings.Join(h.Values("Link"), ","))
	if m == nil {
		return ""
	}
	base, err := url.Parse(c.Endpoint)
	if err != nil {
		return ""
	}
	to, err := base.Parse(m[1])
	if err != nil || to.Host != base.Host {
		return ""
	}
	return to.String()
}

// json reads an answer of the hub's interface.
func (c *Client) json(ctx context.Context, url string, to any) (header http.Header, err error) {
	err = c.persist(ctx, func() (bool, error) {
		ctx, w, stop := c.watched(ctx)
		defer stop()
		r, err := c.request(ctx, c.HTTP, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		w.r = io.LimitReader(r.Body, maxListing)
		text, err := io.ReadAll(w)
		if err != nil {
			return false, fmt.Errorf("%s: %w", url, err)
		}
		header = r.Header
		if err := json.Unmarshal(text, to); err != nil {
			return false, fmt.Errorf("%s: the answer is not what a hub says (%w); check HF_ENDPOINT", url, err)
		}
		return false, nil
	})
	return header, err
}
