package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
)

// A source is a folder that was named, link or not, and what may be read of it: what
// lies in it, links followed, and where links lead out of it only what Options.FollowLinks
// allows. Files are opened through an os.Root, so that a link that changes between the
// judging and the reading leads nowhere else.
type source struct {
	dir    string // as it was named
	real   string // absolute, without links
	root   *os.Root
	follow bool

	blobs    *os.Root // of the Hugging Face hub's cache; nil elsewhere
	blobsDir string
}

var errOutsideFolder = errors.New("the path or its link leads out of the folder; --follow-links reads it all the same")

func openSource(dir string, follow bool) (*source, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	s := &source{dir: dir, real: real, root: root, follow: follow}
	s.openBlobs()
	return s, nil
}

func (s *source) close() {
	s.root.Close()
	if s.blobs != nil {
		s.blobs.Close()
	}
}

// openBlobs finds the hub's cache around the folder: snapshots/REVISION holds links to
// the files, which lie in blobs beside snapshots.
func (s *source) openBlobs() {
	for at := s.real; filepath.Dir(at) != at; at = filepath.Dir(at) {
		if filepath.Base(at) != "snapshots" {
			continue
		}
		repo, err := os.OpenRoot(filepath.Dir(at))
		if err != nil {
			return
		}
		defer repo.Close()
		if info, err := repo.Lstat("blobs"); err != nil || !info.IsDir() {
			return
		}
		if s.blobs, err = repo.OpenRoot("blobs"); err == nil {
			s.blobsDir = filepath.Join(filepath.Dir(at), "blobs")
		}
		return
	}
}

// below is a path as seen from a folder that it lies in.
func below(dir, path string) (name string, ok bool) {
	name, err := filepath.Rel(dir, path)
	return name, err == nil && filepath.IsLocal(name)
}

// within finds the folder that a path lies in with all its links followed, and its name
// there; no folder where it may lie anywhere.
func (s *source) resolve(path string) (root *os.Root, name string, err error) {
	if !s.follow && !s.containsLexically(path) {
		return nil, "", errOutsideFolder // whatever there is or is not
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, "", err
	}
	if name, ok := below(s.real, real); ok {
		return s.root, name, nil
	}
	if name, ok := below(s.blobsDir, real); s.blobs != nil && ok && filepath.Base(name) == name {
		return s.blobs, name, nil
	}
	if !s.follow {
		return nil, "", errOutsideFolder
	}
	return nil, real, nil
}

// names tells whether a path lies in the folder by its words alone.
func (s *source) containsLexically(path string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return false
	}
	_, asNamed := below(dir, path)
	_, asItIs := below(s.real, path)
	return asNamed || asItIs
}

// read returns what a file holds.
func (s *source) read(path string, limit int64) ([]byte, error) {
	root, name, err := s.resolve(path)
	switch {
	case err != nil:
		return nil, err
	case root == nil:
		return smallfile.Read(name, limit)
	}
	return smallfile.ReadIn(root, name, limit)
}

// open opens a file to be read piece by piece.
func (s *source) open(path string, limit int64) (*os.File, error) {
	root, name, err := s.resolve(path)
	switch {
	case err != nil:
		return nil, err
	case root == nil:
		return smallfile.Open(name, limit)
	}
	return smallfile.OpenIn(root, name, limit)
}

// picture returns a picture's bytes as they are.
func (s *source) readImage(m imageFile) ([]byte, error) {
	switch {
	case m.path == "":
		return m.bytes, nil
	case m.named:
		return smallfile.Read(m.path, maxImage)
	}
	return s.read(m.path, maxImage)
}

// locate finds the picture that a list names, by a path from the list's folder or an
// absolute one.
func (s *source) locate(list, name string) (string, error) {
	path := filepath.FromSlash(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(list), path)
	}
	_, _, err := s.resolve(path)
	switch {
	case errors.Is(err, errOutsideFolder):
		return "", err
	case err != nil:
		return "", fmt.Errorf("no such picture: %s", truncated(name))
	}
	return path, nil
}

// shortened is a name that may be anything, for a message.
func truncated(name string) string {
	const most = 100
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return name
}

// cause is what is wrong with a file, without its path.
func cause(err error) string {
	var refused *smallfile.Error
	if errors.As(err, &refused) {
		return refused.Reason
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
