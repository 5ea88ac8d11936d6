package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"patchwork/vlm/data"
	"patchwork/vlm/image"
)

const (
	maxImage    = 512 << 20 // bytes of a file
	maxCaption  = 1 << 20   // bytes of a file
	longCaption = 1000      // characters, some 250 words; longer captions are reported
)

func isImage(path string) bool {
	return slices.Contains(image.Extensions, strings.ToLower(filepath.Ext(path)))
}

// isList reports whether path has the name of a list. The metadata files of Hugging Face
// datasets are none.
func isList(path string) bool {
	name := filepath.Base(path)
	return reader(path) != nil && name != "dataset_info.json" && name != "dataset_infos.json"
}

// collector collects the entries of the paths. A folder that contains a list stands for
// that list, another one for its captioned images and its subfolders.
type collector struct {
	Options
	ctx     context.Context
	named   string // the current path of Options.Paths
	sources []*source
	entries []entry
	lists   []string        // lists in subfolders that are not imported
	seen    map[string]bool // visited folders with links resolved: links may form cycles

	unlisted       int // images that the list of their folder does not name
	firstUnlisted  string
	long, longest  int // long captions, and characters of the longest
	longestFile    string
	systemMessages int
	unused         map[string]int // text fields that are not read, by name
	unanswered     int            // turns
	joined         int            // messages joined with the one before
}

func collect(ctx context.Context, o Options) (*collector, error) {
	c := &collector{Options: o, ctx: ctx, unused: map[string]int{}}
	for _, path := range o.Paths {
		if err := c.addPath(path); err != nil {
			return c, err
		}
	}
	splits := slices.ContainsFunc(c.entries, func(e entry) bool { return e.split != "" })
	if splits && o.TestFraction > 0 {
		return c, &SourceError{o.Paths[0], "already has a test split; omit --test-fraction"}
	}
	return c, nil
}

func (c *collector) close() {
	for _, s := range c.sources {
		s.close()
	}
}

func (c *collector) addPath(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return &SourceError{path, cause(err)}
	}
	dir := path
	if !info.IsDir() {
		dir = filepath.Dir(path)
	}
	s, err := openSource(dir, c.FollowLinks)
	if err != nil {
		return &SourceError{path, cause(err)}
	}
	c.sources, c.named, c.seen = append(c.sources, s), path, map[string]bool{}
	switch {
	case info.IsDir():
		return c.addTopFolder(s, dir)
	case isList(path):
		return c.readList(s, path, "")
	case isImage(path):
		e := c.captionedImage(s, path, "")
		e.images[0].named = true
		c.entries = append(c.entries, e)
		return nil
	}
	return &SourceError{path, "not a folder, a list (.jsonl, .json, .csv, .tsv) or an image"}
}

// folderContents are the relevant entries of a folder; hidden ones are left out.
type folderContents struct {
	lists   []string
	all     []string // images and folders, in order
	folders map[string]bool
	outside []string // links to folders outside the source
}

func (c *collector) readFolder(s *source, dir string) (folderContents, error) {
	found := folderContents{folders: map[string]bool{}}
	if err := c.ctx.Err(); err != nil {
		return found, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found, &SourceError{dir, cause(err)}
	}
	stems := map[string]bool{} // of images
	for _, e := range entries {
		if isImage(e.Name()) {
			stems[strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))] = true
		}
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir() || e.Type()&os.ModeSymlink != 0 && isFolder(path):
			if _, _, err := s.resolve(path); err != nil {
				found.outside = append(found.outside, path)
				continue
			}
			found.all = append(found.all, path)
			found.folders[path] = true
		case isImage(path):
			found.all = append(found.all, path)
		case isList(path) && !stems[strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))]: // some tools write a JSON file for each image
			found.lists = append(found.lists, path)
		}
	}
	return found, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// addTopFolder adds a folder of Options.Paths. Lists or subfolders named after different
// splits become those splits.
func (c *collector) addTopFolder(s *source, dir string) error {
	found, err := c.readFolder(s, dir)
	if err != nil {
		return err
	}
	before := len(c.entries)
	switch {
	case len(found.lists) == 1:
		err = c.addListedFolder(s, found, "")
	case len(found.lists) > 1 && len(splitsOf(found.lists)) < len(found.lists):
		return &SourceError{dir, fmt.Sprintf("contains several lists, %s and %s; name the one to import", filepath.Base(found.lists[0]), filepath.Base(found.lists[1]))}
	case len(found.lists) > 1:
		for _, list := range found.lists {
			if err := c.readList(s, list, splitOf(list)); err != nil {
				return err
			}
		}
		err = c.countUnlisted(s, found, before)
	default:
		err = c.addFolder(s, dir, "", true)
	}
	if err == nil && len(c.entries) == before {
		err = &SourceError{dir, "contains no image and no list (.jsonl, .json, .csv, .tsv)" + c.listsBelow()}
	}
	return err
}

// addListedFolder adds the list of a folder. It is an error if a subfolder has another
// metadata list.
func (c *collector) addListedFolder(s *source, found folderContents, split string) error {
	for _, path := range found.all {
		if !found.folders[path] {
			continue
		}
		other, err := c.findMetadata(s, path)
		if err != nil {
			return err
		}
		if other != "" {
			return &SourceError{filepath.Dir(found.lists[0]), fmt.Sprintf("contains several lists, %s and %s; name the one to import", found.lists[0], other)}
		}
	}
	before := len(c.entries)
	if err := c.readList(s, found.lists[0], split); err != nil {
		return err
	}
	return c.countUnlisted(s, found, before)
}

// countUnlisted counts the images in a folder that are in no entry from before on.
func (c *collector) countUnlisted(s *source, found folderContents, before int) error {
	named := map[string]bool{}
	seen := c.seen
	c.seen = map[string]bool{}
	defer func() { c.seen = seen }()
	for _, e := range c.entries[before:] {
		for _, m := range e.images {
			named[m.path] = true
		}
	}
	var walk func(found folderContents) error
	walk = func(found folderContents) error {
		for _, path := range found.all {
			switch {
			case !found.folders[path]:
				if !named[path] {
					c.firstUnlisted = cmp.Or(c.firstUnlisted, path)
					c.unlisted++
				}
			case c.visit(path):
				below, err := c.readFolder(s, path)
				if err == nil {
					err = walk(below)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	return walk(found)
}

// findMetadata returns the first metadata list in a folder or below it, or "".
func (c *collector) findMetadata(s *source, dir string) (string, error) {
	if !c.visit(dir) {
		return "", nil
	}
	found, err := c.readFolder(s, dir)
	if err != nil {
		return "", err
	}
	for _, list := range found.lists {
		if isMetadata(list) {
			return list, nil
		}
	}
	for _, path := range found.all {
		if !found.folders[path] {
			continue
		}
		if list, err := c.findMetadata(s, path); list != "" || err != nil {
			return list, err
		}
	}
	return "", nil
}

// isMetadata reports whether a list describes the images in its folder, as for Hugging
// Face's ImageFolder.
func isMetadata(list string) bool { return strings.HasPrefix(filepath.Base(list), "metadata.") }

// visit marks a folder as visited and reports whether it is new.
func (c *collector) visit(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil || c.seen[real] {
		return false
	}
	c.seen[real] = true
	return true
}

// addFolder adds the captioned images of a folder and its subfolders. Of lists in
// subfolders, only metadata lists are read.
func (c *collector) addFolder(s *source, dir, split string, top bool) error {
	if !c.visit(dir) {
		return nil
	}
	found, err := c.readFolder(s, dir)
	if err != nil {
		return err
	}
	for _, path := range found.outside {
		c.entries = append(c.entries, entry{source: s, file: path, failed: errOutsideFolder.Error()})
	}
	for _, list := range found.lists {
		if !isMetadata(list) {
			c.lists = append(c.lists, list)
		}
	}
	found.lists = slices.DeleteFunc(found.lists, func(list string) bool { return !isMetadata(list) })
	switch {
	case len(found.lists) > 1:
		return &SourceError{dir, fmt.Sprintf("contains several lists, %s and %s; name the one to import", filepath.Base(found.lists[0]), filepath.Base(found.lists[1]))}
	case len(found.lists) == 1:
		return c.addListedFolder(s, found, split)
	}
	var folders []string
	for _, path := range found.all {
		if found.folders[path] {
			folders = append(folders, path)
		}
	}
	inSplits := top && len(splitsOf(folders)) > 1
	for _, path := range found.all {
		switch {
		case !found.folders[path]:
			c.entries = append(c.entries, c.captionedImage(s, path, split))
			continue
		case inSplits:
			split = splitOf(path)
		}
		if err := c.addFolder(s, path, split, false); err != nil {
			return err
		}
	}
	return nil
}

// splitOf returns the split that a list or folder is named after, by the keywords of
// Hugging Face datasets, or "".
func splitOf(path string) string {
	name := strings.ToLower(filepath.Base(path))
	if isList(name) {
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	switch name {
	case "train", "training":
		return train
	case "validation", "valid", "val", "dev":
		return validation
	case "test", "testing", "eval", "evaluation":
		return test
	}
	return ""
}

// splitsOf returns the distinct splits that paths are named after.
func splitsOf(paths []string) (out []string) {
	for _, path := range paths {
		if s := splitOf(path); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// listsBelow ends an error message with the first list in a subfolder that was not imported.
func (c *collector) listsBelow() string {
	if len(c.lists) == 0 {
		return ""
	}
	return fmt.Sprintf("; to import the list in it, name %s", c.lists[0])
}

// captionedImage returns the entry of an image with its caption in a .txt file of the same
// name.
func (c *collector) captionedImage(s *source, path, split string) entry {
	e := entry{source: s, file: path, images: []imageFile{{path: path}}, split: split}
	caption, err := c.caption(s, path)
	if err != nil {
		e.failed = err.Error()
	}
	if n := utf8.RuneCountInString(caption); n > longCaption {
		c.long++
		if n > c.longest {
			c.longest, c.longestFile = n, strings.TrimSuffix(path, filepath.Ext(path))+".txt"
		}
	}
	e.turns = []data.Turn{{User: c.prompt(len(c.entries)), Assistant: caption}}
	return e
}

func (c *collector) caption(s *source, path string) (string, error) {
	if path != c.named { // a path given by the user may lead anywhere
		if _, _, err := s.resolve(path); err != nil {
			return "", imageError(err)
		}
	}
	raw, err := s.read(strings.TrimSuffix(path, filepath.Ext(path))+".txt", maxCaption)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", errors.New("no caption: there is no .txt file of the same name beside it")
	case errors.Is(err, errOutsideFolder):
		return "", errors.New("the caption's link leads out of the folder; add --follow-links to read it")
	case err != nil:
		return "", fmt.Errorf("the caption cannot be read: %s", cause(err))
	}
	text, err := DecodeText(raw)
	if err != nil {
		return "", fmt.Errorf("the caption %w", err)
	}
	if err := checkControls(text); err != nil {
		return "", fmt.Errorf("the caption %w", err)
	}
	if lines := strings.Split(strings.TrimSpace(text), "\n"); c.CaptionLines > 0 && len(lines) > c.CaptionLines {
		text = strings.Join(lines[:c.CaptionLines], "\n")
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", errors.New("the caption is empty")
	}
	return text, nil
}

func imageError(err error) error {
	if errors.Is(err, errOutsideFolder) {
		return err
	}
	return fmt.Errorf("the image cannot be read: %s", cause(err))
}
