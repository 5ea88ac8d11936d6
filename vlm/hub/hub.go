// Package hub fetches the files of a model or a data set from the Hugging Face
// hub or a mirror of it, by its HTTP interface
// (https://huggingface.co/docs/hub/api). Downloads run in parallel, go on where
// they were cut, and are checked against the hub's own hashes.
package hub

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"patchwork/internal/smallfile"
)

// Kind is what a repository holds.
type Kind string

// The kinds of repository. Any is a model where there is one of that name, else a
// data set.
const (
	Any     Kind = ""
	Model   Kind = "model"
	Dataset Kind = "dataset"
)

// Repo names a repository at a revision: a branch, a tag or a commit.
type Repo struct {
	Kind     Kind
	Name     string // OWNER/NAME
	Revision string
}

// ParseRepo reads OWNER/NAME[@REVISION], with "datasets/" in front for a data set
// and the hub's address allowed before all of it.
func ParseRepo(s string) (Repo, error) {
	name, revision, found := strings.Cut(s, "@")
	if found && revision == "" {
		return Repo{}, fmt.Errorf("%q: the revision after @ is empty", s)
	}
	if !found {
		revision = "main"
	}
	if u, err := url.Parse(name); err == nil && u.Host != "" {
		name = u.Path
	}
	r := Repo{Name: strings.Trim(name, "/"), Revision: revision}
	for prefix, kind := range map[string]Kind{"datasets/": Dataset, "models/": Model} {
		if rest, ok := strings.CutPrefix(r.Name, prefix); ok {
			r.Name, r.Kind = rest, kind
		}
	}
	parts := strings.Split(r.Name, "/")
	for _, p := range parts {
		if p == "" || strings.Trim(p, ".") == "" || strings.ContainsAny(p, "?#%\\ ") {
			return Repo{}, fmt.Errorf("%q is no repository: want OWNER/NAME, or datasets/OWNER/NAME, with @REVISION if need be", s)
		}
	}
	if len(parts) > 2 {
		return Repo{}, fmt.Errorf("%q is no repository: want OWNER/NAME, or datasets/OWNER/NAME", s)
	}
	return r, nil
}

func (r Repo) String() string {
	if r.Kind == Dataset {
		return "datasets/" + r.Name + "@" + r.Revision
	}
	return r.Name + "@" + r.Revision
}

// File is one file of a repository.
type File struct {
	Path   string // with slashes, below the repository's root
	Size   int64  // bytes; -1 = unknown
	SHA256 string // of a large file; "" = unknown
	Blob   string // git's SHA-1 of a small file; "" = unknown
}

// hashed reports whether a download of the file can be checked.
func (f File) hashed() bool { return f.SHA256 != "" || f.Blob != "" }

// Client asks one hub.
type Client struct {
	Endpoint string // address without a slash at its end
	Token    string // "" = none
	HTTP     *http.Client

	Attempts int           // without a new byte, before it gives up
	Pause    time.Duration // after the first failure; doubled after each further one
	Idle     time.Duration // without a byte, until a connection counts as dead

	Note func(string) // when set, told of what was mended or left unchecked
}

func (c *Client) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

// DefaultEndpoint is the hub's own address.
const DefaultEndpoint = "https://huggingface.co"

// NewClient is set up as Hugging Face's own tools are: by HF_ENDPOINT, and by
// HF_TOKEN or the token that their login has left behind.
func NewClient() (*Client, error) {
	c := &Client{
		Endpoint: strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"), Token: token(), HTTP: &http.Client{},
		Attempts: 6, Pause: time.Second, Idle: time.Minute,
	}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("HF_ENDPOINT is %s, want an address such as %s", printableURL(c.Endpoint), DefaultEndpoint)
	}
	return c, nil
}

func token() string {
	if t := strings.TrimSpace(os.Getenv("HF_TOKEN")); t != "" {
		return t
	}
	path := os.Getenv("HF_TOKEN_PATH")
	if path == "" {
		home := os.Getenv("HF_HOME")
		if home == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return ""
			}
			home = filepath.Join(user, ".cache", "huggingface")
		}
		path = filepath.Join(home, "token")
	}
	text, err := smallfile.Read(path, 64<<10)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// api is an address of the hub's interface for a repository at its revision.
func (c *Client) api(r Repo, what string) string {
	return c.Endpoint + "/api/" + string(r.Kind) + "s/" + r.Name + "/" + what + "/" + url.PathEscape(r.Revision)
}

// resolve is a file's address.
func (c *Client) resolve(r Repo, path string) string {
	prefix := ""
	if r.Kind == Dataset {
		prefix = "datasets/"
	}
	return c.Endpoint + "/" + prefix + r.Name + "/resolve/" + url.PathEscape(r.Revision) + "/" + escape(path)
}

// escape escapes a path's parts and leaves its slashes.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
