package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// snapshot is what a branch or tag was when the hub was last asked.
type snapshot struct {
	Commit string
	Time   time.Time
}

// quickTimeout is how long the hub may be silent if an earlier answer is known.
const quickTimeout = 5 * time.Second

// pin returns the repository of a reference at the commit of its revision: that of an earlier run, the hub's,
// or, if the hub cannot be reached, the last one that is known.
func (s *Stream) pin(ctx context.Context, ref Reference) (Repo, error) {
	r := ref.Repo
	if isCommit(r.Revision) {
		return r, nil
	}
	if commit := s.earlierCommit(ref); commit != "" {
		if r.Revision != defaultRevision {
			s.note("%s is read at commit %.12s, as before", r, commit)
		}
		r.Revision = commit
		return r, nil
	}
	record := fmt.Sprintf("commit %s %s %s", s.client.Endpoint, r.Kind, r)
	var last snapshot
	text, ok := s.cache.Kept(record)
	known := ok && json.Unmarshal(text, &last) == nil && isCommit(last.Commit)
	client := *s.client
	if known { // do not wait long for what may be done without
		client.Attempts, client.Idle, client.Note = 2, min(client.Idle, quickTimeout), nil
	}
	pinned, _, err := client.commit(ctx, r)
	if err == nil {
		if text, err := json.Marshal(snapshot{pinned.Revision, time.Now()}); err == nil {
			s.cache.Keep(record, text)
		}
		return pinned, nil
	}
	if ctx.Err() != nil || isPermanent(err) || !known {
		return r, err
	}
	s.warn("%s: %s; it is read at commit %.12s, which it was on %s", r, reason(err), last.Commit, last.Time.Format("2 January 2006"))
	r.Revision = last.Commit
	return r, nil
}

// earlierCommit returns the commit at which an earlier run read a reference, or "" if it is not
// known: that of the files at its path, else the only one of its repository.
func (s *Stream) earlierCommit(ref Reference) string {
	var here, anywhere []string
	for _, name := range s.o.Earlier {
		was, err := ParseReference(name)
		if err != nil || was.Repo.Kind != ref.Repo.Kind || was.Repo.Name != ref.Repo.Name {
			continue
		}
		anywhere = append(anywhere, was.Repo.Revision)
		if ok, _ := path.Match(ref.Path, was.Path); ok || path.Dir(was.Path) == path.Clean(ref.Path) {
			here = append(here, was.Repo.Revision)
		}
	}
	for _, commits := range [][]string{here, anywhere} {
		slices.Sort(commits)
		if commits = slices.Compact(commits); len(commits) == 1 {
			return commits[0]
		}
	}
	return ""
}

// listing is the content of a folder.
type listing struct {
	Files   []File
	Folders []string // paths
}

// list returns the content of a folder of a repository at a commit, from the cache if it is
// there: a commit does not change.
func (s *Stream) list(ctx context.Context, r Repo, folder string, recursive bool) (l listing, err error) {
	record := fmt.Sprintf("listing %s %s %s %s %v", s.client.Endpoint, r.Kind, r, folder, recursive)
	if text, ok := s.cache.Kept(record); ok && json.Unmarshal(text, &l) == nil {
		return l, nil
	}
	entries, err := s.client.entries(ctx, r, folder, recursive)
	if isNotFound(err) {
		return s.unlisted(ctx, r, folder, recursive, err)
	}
	if err != nil {
		return l, err
	}
	l = listing{Files: filesOf(entries)}
	for _, e := range entries {
		if e.Type == "directory" {
			l.Folders = append(l.Folders, e.Path)
		}
	}
	if l, err = l.checked(r); err == nil {
		if text, err := json.Marshal(l); err == nil {
			s.cache.Keep(record, text)
		}
	}
	return l, err
}

// unlisted returns the content of a folder on a mirror without listings. The error is notFound
// if the folder is not there either.
func (s *Stream) unlisted(ctx context.Context, r Repo, folder string, recursive bool, notFound error) (l listing, err error) {
	_, names, err := s.client.commit(ctx, r)
	if err != nil {
		return l, err
	}
	for _, name := range names {
		below, ok := strings.CutPrefix(name, folder+"/")
		if folder == "" {
			below, ok = name, true
		}
		sub, _, deeper := strings.Cut(below, "/")
		switch {
		case !ok:
		case recursive || !deeper:
			l.Files = append(l.Files, File{Path: name, Size: -1})
		case !slices.Contains(l.Folders, path.Join(folder, sub)):
			l.Folders = append(l.Folders, path.Join(folder, sub))
		}
	}
	if len(l.Files)+len(l.Folders) == 0 {
		return l, notFound
	}
	return l.checked(r)
}

// checked returns the listing in order, or an error about a name that is not one.
func (l listing) checked(r Repo) (listing, error) {
	for _, f := range l.Files {
		if !isLocalName(f.Path) {
			return l, fmt.Errorf("%s lists a file named %s; check HF_ENDPOINT", r, printable(f.Path))
		}
	}
	slices.SortFunc(l.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(l.Folders)
	return l, nil
}

// names lists the content for an error message.
func (l listing) names() string {
	files := slices.Clone(l.Files)
	for _, f := range l.Folders {
		files = append(files, File{Path: f + "/"})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if len(files) == 0 {
		return "nothing"
	}
	return listNames(files)
}

// find returns the files at a path: those of a pattern, of a folder, or one file.
func (s *Stream) find(ctx context.Context, r Repo, at string) ([]File, error) {
	if isPattern(at) {
		return s.findPattern(ctx, r, at)
	}
	if path.Ext(at) == "" { // probably a folder
		if l, err := s.list(ctx, r, at, false); err == nil || !isNotFound(err) || at == "" {
			return s.choose(l, at, err)
		}
	}
	parent := path.Dir(at)
	if parent == "." {
		parent = ""
	}
	l, err := s.list(ctx, r, parent, false)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(l.Files, func(f File) bool { return f.Path == at }); i >= 0 {
		return l.Files[i : i+1], nil
	}
	if slices.Contains(l.Folders, at) {
		l, err = s.list(ctx, r, at, false)
		return s.choose(l, at, err)
	}
	return nil, fmt.Errorf("no such file or folder; the hub has there: %s", l.names())
}

// choose returns the parquet files directly in a folder, whose listing may have failed.
func (s *Stream) choose(l listing, at string, err error) ([]File, error) {
	if err != nil {
		return nil, err
	}
	var files []File
	var names []string
	for _, f := range l.Files {
		if base := path.Base(f.Path); path.Ext(base) == ".parquet" && !strings.HasPrefix(base, ".") {
			files, names = append(files, f), append(names, base)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no *.parquet in this folder; it has: %s", l.names())
	}
	if s.o.Splits != nil {
		if splits := s.o.Splits(names); len(splits) > 1 {
			return nil, fmt.Errorf("contains the splits %s; name one of them, for example %s",
				strings.Join(splits, " and "), path.Join(at, splits[len(splits)-1]+"-*.parquet"))
		}
	}
	return files, nil
}

func (s *Stream) findPattern(ctx context.Context, r Repo, pattern string) ([]File, error) {
	parts := strings.Split(pattern, "/")
	fixed := slices.IndexFunc(parts, isPattern)
	folder := strings.Join(parts[:fixed], "/")
	l, err := s.list(ctx, r, folder, fixed < len(parts)-1)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, f := range l.Files {
		if ok, _ := path.Match(pattern, f.Path); ok { // ParseReference checked the pattern
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no file matches; the hub has there: %s", l.names())
	}
	return files, nil
}

// describe makes an error about a reference one line that says what to do.
func (s *Stream) describe(ref Reference, err error) error {
	var busy *busyError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &busy):
		return fmt.Errorf("%s: %w", ref, err)
	}
	return fmt.Errorf("%s: %w", ref, s.explain(ref.Repo, err))
}

// refused explains a status that the hub answered.
func (s *Stream) refused(r Repo, e *StatusError) error {
	reason := e.Reason
	switch {
	case e.Status == 401 || e.Status == 403:
		reason += fmt.Sprintf(" (%s)", s.page(r))
	case e.Status == 404 && r.Kind == Model:
		reason += "; data sets are named " + Scheme + "datasets/OWNER/NAME"
	}
	return fmt.Errorf("%s (HTTP %d)", reason, e.Status)
}

// page is the address of a repository's page.
func (s *Stream) page(r Repo) string {
	prefix := ""
	if r.Kind == Dataset {
		prefix = "datasets/"
	}
	return printableURL(s.client.Endpoint + "/" + prefix + r.Name)
}
