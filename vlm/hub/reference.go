package hub

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Scheme starts a reference to files of the hub.
const Scheme = "hf://"

// A Reference names files of a repository, in the form of Hugging Face's tools:
// hf://datasets/OWNER/NAME[@REVISION][/PATH].
type Reference struct {
	Repo Repo
	Path string // a file, a folder, or a pattern of path.Match; "": the repository's root
}

// specialRevision is a revision that contains slashes.
var specialRevision = regexp.MustCompile(`^refs/(convert|pr)/[^/]+`)

// ParseReference parses a reference. A revision with a slash in it is written with %2F, except
// refs/convert/NAME and refs/pr/N.
func ParseReference(s string) (Reference, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return Reference{}, fmt.Errorf("%q does not start with %s", s, Scheme)
	}
	wrong := fmt.Errorf("%q is not a reference to the hub: want hf://datasets/OWNER/NAME[@REVISION]/PATH", s)
	kind := Model
	for prefix, k := range map[string]Kind{"datasets/": Dataset, "models/": Model} {
		if after, ok := strings.CutPrefix(rest, prefix); ok {
			rest, kind = after, k
		}
	}
	owner, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return Reference{}, wrong
	}
	name, file, _ := strings.Cut(rest, "/")
	revision := defaultRevision
	if i := strings.IndexByte(rest, '@'); i >= 0 && i <= len(name) {
		name, revision, file = cutRevision(rest, i)
		if r, err := url.PathUnescape(revision); err == nil {
			revision = r
		}
	}
	repo, err := ParseRepo(owner + "/" + name + "@" + revision)
	if err != nil || owner == "" || name == "" || strings.Contains(owner, "@") {
		return Reference{}, wrong
	}
	repo.Kind = kind
	if file = strings.TrimSuffix(file, "/"); file != "" && !isLocalName(file) {
		return Reference{}, fmt.Errorf("%q: the path in the repository is not valid", s)
	}
	if _, err := path.Match(file, ""); err != nil {
		return Reference{}, fmt.Errorf("%q: the pattern is not valid; [ starts a set of characters, as in [0-9]", s)
	}
	return Reference{repo, file}, nil
}

// cutRevision cuts NAME@REVISION/PATH, whose @ is at i.
func cutRevision(s string, i int) (name, revision, file string) {
	name, rest := s[:i], s[i+1:]
	if special := specialRevision.FindString(rest); special != "" {
		return name, special, strings.TrimPrefix(rest[len(special):], "/")
	}
	revision, file, _ = strings.Cut(rest, "/")
	return name, revision, file
}

// String returns the reference in the form that ParseReference parses.
func (r Reference) String() string {
	revision := r.Repo.Revision
	if specialRevision.FindString(revision) != revision {
		revision = url.PathEscape(revision)
	}
	prefix := ""
	if r.Repo.Kind == Dataset {
		prefix = "datasets/"
	}
	s := Scheme + prefix + r.Repo.Name + "@" + revision
	if r.Path != "" {
		s += "/" + r.Path
	}
	return s
}

// isPattern reports whether a path has characters with a meaning to path.Match.
func isPattern(p string) bool { return strings.ContainsAny(p, `*?[\`) }
