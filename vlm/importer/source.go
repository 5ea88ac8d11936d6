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

// A source is a folder given by the user. Files in it may be read, also through links, but
// files outside of it only with Options.FollowLinks. Files are opened through an os.Root, so
// that a link that changes between check and use cannot lead out of the folder.
type source struct {
	dir    string // as given
	real   string // absolute, with links resolved
	root   *os.Root
	follow bool

	blobs    *os.Root // blobs of a Hugging Face hub cache; else nil
	blobsDir string
}

var errOutsideFolder = errors.New("the path or its link leads out of the folder; add --follow-links to read it")

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

// openBlobs opens the blobs of a Hugging Face hub cache if the folder is in one:
// snapshots/REVISION contains links to files in blobs, beside snapshots.
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

// below returns path relative to dir; ok is false if it is not in dir.
func below(dir, path string) (name string, ok bool) {
	name, err := filepath.Rel(dir, path)
	return name, err == nil && filepath.IsLocal(name)
}

// resolve follows the links of a path and returns the root that contains it and its name
// there. With FollowLinks the root is nil if the file is outside the folder, and name is
// its absolute path.
func (s *source) resolve(path string) (root *os.Root, name string, err error) {
	if !s.follow && !s.containsLexically(path) {
		return nil, "", errOutsideFolder // without revealing whether the file exists
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

// containsLexically reports whether a path is in the folder, without following links.
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

// read returns the contents of a file of at most limit bytes.
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

// open opens a file of at most limit bytes.
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

// readImage returns an image's encoded bytes.
func (s *source) readImage(m imageFile) ([]byte, error) {
	switch {
	case m.path == "":
		return m.bytes, nil
	case m.named:
		return smallfile.Read(m.path, maxImage)
	}
	return s.read(m.path, maxImage)
}

// locate returns the path of an image that a list names, absolute or relative to the list's
// folder.
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
		return "", fmt.Errorf("no such image: %s", truncated(name))
	}
	return path, nil
}

// truncated shortens input text for a message.
func truncated(name string) string {
	const limit = 100 // characters
	if runes := []rune(name); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return name
}

// cause returns the reason in a file error, without the path.
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
