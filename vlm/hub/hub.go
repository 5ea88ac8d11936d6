// Package hub downloads the files of a model or data set from the Hugging Face hub or a
// mirror, with its HTTP API (https://huggingface.co/docs/hub/api). Downloads run in
// parallel, resume after interruptions, and are verified against the hub's hashes.
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

// Kind is the type of a repository.
type Kind string

// Kinds of repositories. Any is the model of a name if there is one, else the data set.
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

// defaultRevision is the branch of a name without a revision.
const defaultRevision = "main"

// ParseRepo parses OWNER/NAME[@REVISION], optionally with a prefix datasets/ and with the
// hub's URL before it.
func ParseRepo(s string) (Repo, error) {
	name, revision, found := strings.Cut(s, "@")
	if found && revision == "" {
		return Repo{}, fmt.Errorf("%q: the revision after @ is empty", s)
	}
	if !found {
		revision = defaultRevision
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
			return Repo{}, fmt.Errorf("%q is not a repository: want OWNER/NAME or datasets/OWNER/NAME, optionally with @REVISION", s)
		}
	}
	if len(parts) > 2 {
		return Repo{}, fmt.Errorf("%q is not a repository: want OWNER/NAME or datasets/OWNER/NAME", s)
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
	Path   string // relative to the repository's root, with slashes
	Size   int64  // bytes; -1: unknown
	SHA256 string // of a large file; "": unknown
	Blob   string // git's SHA-1 of a small file; "": unknown
}

// hashed reports whether the hash of the file is known.
func (f File) hashed() bool { return f.SHA256 != "" || f.Blob != "" }

// Client is a client of one hub.
type Client struct {
	Endpoint string // URL without a trailing slash
	Token    string // "": none
	HTTP     *http.Client

	Attempts int           // attempts without progress before giving up
	Pause    time.Duration // after the first failure; doubled after each further one
	Idle     time.Duration // timeout of a connection without data

	Note func(string) // called with remarks on retries and missing hashes; may be nil
}

func (c *Client) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

// DefaultEndpoint is the URL of the Hugging Face hub.
const DefaultEndpoint = "https://huggingface.co"

// NewClient returns a client with the settings of Hugging Face's tools: HF_ENDPOINT, and
// HF_TOKEN or the token saved by their login.
func NewClient() (*Client, error) {
	c := &Client{
		Endpoint: strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"), Token: token(), HTTP: &http.Client{},
		Attempts: 6, Pause: time.Second, Idle: time.Minute,
	}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("HF_ENDPOINT is %s, want a URL such as %s", printableURL(c.Endpoint), DefaultEndpoint)
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

// api returns the API URL for a repository at its revision.
func (c *Client) api(r Repo, what string) string {
	return c.Endpoint + "/api/" + string(r.Kind) + "s/" + r.Name + "/" + what + "/" + url.PathEscape(r.Revision)
}

// resolve returns the URL of a file.
func (c *Client) resolve(r Repo, path string) string {
	prefix := ""
	if r.Kind == Dataset {
		prefix = "datasets/"
	}
	return c.Endpoint + "/" + prefix + r.Name + "/resolve/" + url.PathEscape(r.Revision) + "/" + escape(path)
}

// escape escapes the elements of a path.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
