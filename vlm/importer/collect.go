package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// The largest files that are read of a picture and of a caption.
const (
	maxPicture = 512 << 20
	maxCaption = 1 << 20
)

var pictureNames = []string{".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

func isPicture(path string) bool {
	return slices.Contains(pictureNames, strings.ToLower(filepath.Ext(path)))
}

func isList(path string) bool { return reader(path) != nil }

// collect finds what the paths hold. A folder with lists in it is those lists; one
// without is its pictures with captions, in all folders below it.
func collect(o Options) ([]entry, error) {
	var all []entry
	for _, path := range o.Paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, &SourceError{path, cause(err)}
		}
		var found []entry
		switch {
		case info.IsDir():
			found, err = collectFolder(o, path, len(all))
		case isList(path):
			found, err = readList(o, path, len(all))
		case isPicture(path):
			found = []entry{captioned(o, path, len(all))}
		default:
			err = &SourceError{path, "neither a folder, a list (.jsonl, .json, .csv, .tsv) nor a picture"}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func collectFolder(o Options, dir string, place int) ([]entry, error) {
	var lists, pictures []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return &SourceError{path, cause(err)}
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir(): // links to folders are not followed: they may lead in circles
		case isList(path) && filepath.Dir(path) == filepath.Clean(dir):
			lists = append(lists, path)
		case isPicture(path):
			pictures = append(pictures, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(lists) > 1 {
		return nil, &SourceError{dir, fmt.Sprintf("holds several lists, %s and %s; name the one to import", filepath.Base(lists[0]), filepath.Base(lists[1]))}
	}
	if len(lists) == 1 {
		return readList(o, lists[0], place)
	}
	if len(pictures) == 0 {
		return nil, &SourceError{dir, "holds no picture and no list (.jsonl, .json, .csv, .tsv)"}
	}
	var all []entry
	for i, path := range pictures {
		if leads, err := outside(dir, path); err != nil || leads {
			all = append(all, entry{file: path, failed: "the link leads out of the folder"})
			continue
		}
		all = append(all, captioned(o, path, place+i))
	}
	return all, nil
}

// captioned is a picture with its caption in a text file of the same name.
func captioned(o Options, path string, place int) entry {
	e := entry{file: path, images: []string{path}}
	text, err := os.ReadFile(strings.TrimSuffix(path, filepath.Ext(path)) + ".txt")
	caption := strings.TrimSpace(strings.TrimPrefix(string(text), byteOrderMark))
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.failed = "no caption: there is no .txt of the same name beside it"
	case err != nil:
		e.failed = "the caption cannot be read: " + cause(err)
	case caption == "":
		e.failed = "the caption is empty"
	case len(caption) > maxCaption:
		e.failed = "the caption is longer than a megabyte"
	}
	e.turns = []data.Turn{{User: o.prompt(place), Assistant: strings.ToValidUTF8(caption, "\uFFFD")}}
	return e
}

const byteOrderMark = "\uFEFF"

// outside tells whether a path, with all links followed, lies outside of a folder.
func outside(dir, path string) (bool, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	relative, err := filepath.Rel(root, real)
	return relative == ".." || strings.HasPrefix(relative, ".."+string(filepath.Separator)), err
}

// locate finds the picture that a list names. A relative path stays inside the list's
// folder, links followed; an absolute one is taken as it is.
func locate(list, name string) (string, error) {
	if name == "" {
		return "", errors.New("no picture is named")
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	dir := filepath.Dir(list)
	path := filepath.Join(dir, filepath.FromSlash(name))
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", errors.New("the picture's path leads out of the folder")
	}
	if _, err := os.Lstat(path); err != nil {
		return "", fmt.Errorf("no such picture: %s", name)
	}
	leads, err := outside(dir, path)
	switch {
	case err != nil:
		return "", fmt.Errorf("no such picture: %s", name)
	case leads:
		return "", errors.New("the link leads out of the folder")
	}
	return path, nil
}

// readPicture returns a picture's bytes as they are.
func readPicture(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("no such picture: %s", cause(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("the picture is no regular file")
	case info.Size() > maxPicture:
		return nil, fmt.Errorf("the picture's file has more than %d MB", maxPicture>>20)
	}
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the picture cannot be read: %s", cause(err))
	}
	return bytes, nil
}

// cause is what the operating system says, without the path.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
