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

// The largest files that are read of a picture and of a caption, and the characters of a
// caption from which on it is told of: some 250 words.
const (
	maxImage    = 512 << 20
	maxCaption  = 1 << 20
	longCaption = 1000
)

// pictureNames are those of what is read, and of what is refused by its name.
var imageExtensions = image.Extensions

func isImage(path string) bool {
	return slices.Contains(imageExtensions, strings.ToLower(filepath.Ext(path)))
}

// isList tells a list by its name; what Hugging Face's datasets say of a set is none.
func isList(path string) bool {
	name := filepath.Base(path)
	return reader(path) != nil && name != "dataset_info.json" && name != "dataset_infos.json"
}

// collector finds what the paths hold. A folder with a list in it is that list; one
// without is its pictures with captions, and the folders below it.
type collector struct {
	Options
	ctx     context.Context
	named   string // the path that is being read, as it was given
	sources []*source
	entries []entry
	lists   []string        // below the folders that are not imported
	seen    map[string]bool // folders, without links: links may lead in circles

	unlisted       int // pictures in folders whose list does not name them
	firstUnlisted  string
	long, longest  int // captions, and the characters of the longest
	longestFile    string
	systemMessages int
	unused         map[string]int // texts beside those that are read, by their fields
	unanswered     int            // turns
	joined         int            // questions that follow a question
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
		return c, &SourceError{o.Paths[0], "has a test set of its own; --test-fraction is for data that have none"}
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
	return &SourceError{path, "neither a folder, a list (.jsonl, .json, .csv, .tsv) nor a picture"}
}

// contents are the things in a folder that matter, hidden ones left out.
type folderContents struct {
	lists   []string
	all     []string // pictures and folders, in order
	folders map[string]bool
	broken  []string // links to folders out of the source
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
	stems := map[string]bool{} // of pictures
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
				found.broken = append(found.broken, path)
				continue
			}
			found.all = append(found.all, path)
			found.folders[path] = true
		case isImage(path):
			found.all = append(found.all, path)
		case isList(path) && !stems[strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))]: // not what some tools write beside each picture
			found.lists = append(found.lists, path)
		}
	}
	return found, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// top reads a folder that was named. Lists that are called by different splits are those
// splits; so are folders.
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
		return &SourceError{dir, fmt.Sprintf("holds several lists, %s and %s; name the one to import", filepath.Base(found.lists[0]), filepath.Base(found.lists[1]))}
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
		err = &SourceError{dir, "holds no picture and no list (.jsonl, .json, .csv, .tsv)" + c.listsBelow()}
	}
	return err
}

// one reads the list of a folder, below which there must be no other.
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
			return &SourceError{filepath.Dir(found.lists[0]), fmt.Sprintf("holds several lists, %s and %s; name the one to import", found.lists[0], other)}
		}
	}
	before := len(c.entries)
	if err := c.readList(s, found.lists[0], split); err != nil {
		return err
	}
	return c.countUnlisted(s, found, before)
}

// countUnlisted counts the pictures in a folder that its lists do not name.
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

// metadata finds a list in a folder or below it.
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

// isMetadata tells a list that belongs to the pictures beside it, as ImageFolder has it.
func isMetadata(list string) bool { return strings.HasPrefix(filepath.Base(list), "metadata.") }

// enter notes a folder, and tells whether it is new.
func (c *collector) visit(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil || c.seen[real] {
		return false
	}
	c.seen[real] = true
	return true
}

// folder reads the pictures of a folder with their captions, and the folders in it. Of
// lists below the top, those called metadata are read.
func (c *collector) addFolder(s *source, dir, split string, top bool) error {
	if !c.visit(dir) {
		return nil
	}
	found, err := c.readFolder(s, dir)
	if err != nil {
		return err
	}
	for _, path := range found.broken {
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
		return &SourceError{dir, fmt.Sprintf("holds several lists, %s and %s; name the one to import", filepath.Base(found.lists[0]), filepath.Base(found.lists[1]))}
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

// splitOf is the split that a list or a folder is called by, in the words of Hugging
// Face's datasets; "" for others.
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

// splitsOf are the different splits among paths.
func splitsOf(paths []string) (out []string) {
	for _, path := range paths {
		if s := splitOf(path); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// listsBelow names lists in a folder that were passed over for its pictures.
func (c *collector) listsBelow() string {
	if len(c.lists) == 0 {
		return ""
	}
	return fmt.Sprintf("; a list lies in it, %s: name it to import it", c.lists[0])
}

// captioned is a picture with its caption in a text file of the same name.
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
	if path != c.named { // by the user, wherever it leads
		if _, _, err := s.resolve(path); err != nil {
			return "", imageError(err)
		}
	}
	raw, err := s.read(strings.TrimSuffix(path, filepath.Ext(path))+".txt", maxCaption)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", errors.New("no caption: there is no .txt of the same name beside it")
	case errors.Is(err, errOutsideFolder):
		return "", errors.New("the caption's link leads out of the folder; --follow-links reads it all the same")
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
	return fmt.Errorf("the picture cannot be read: %s", cause(err))
}
