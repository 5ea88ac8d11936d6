package importer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"patchwork/internal/folderlock"
	"patchwork/vlm/data"
)

const defaultShardRows = 10_000

// shards writes the parquet files of an import, in a locked temporary folder beside the
// output folder.
type shards struct {
	out, temp string
	lock      *folderlock.Lock
	rows      int // per file
	splits    map[string]*split
}

// split is the train, validation or test set.
type split struct {
	writer *data.Writer
	files  []string
	rows   int // in the open file
}

// splitNames are the possible splits, in the order of Result.Files.
var splitNames = []string{train, validation, test}

const train, validation, test = "train", "validation", "test"

// ErrBusy reports an output folder that another import is writing to.
var ErrBusy = errors.New("another import is writing there; wait until it ends, or choose another --out")

// newShards creates the temporary folder, or takes over the one that a killed import left.
func newShards(o Options) (*shards, error) {
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return nil, err
	}
	temp := filepath.Join(filepath.Dir(out), ".import-"+filepath.Base(out))
	if err := os.MkdirAll(filepath.Dir(temp), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(temp, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if info, err := os.Lstat(temp); err != nil || !info.IsDir() { // not a link, whose target would be cleaned
		return nil, fmt.Errorf("%s is in the way; remove it", temp)
	}
	lock, err := folderlock.Take(temp)
	if errors.Is(err, folderlock.ErrBusy) {
		return nil, fmt.Errorf("%s: %w", o.Out, ErrBusy)
	} else if err != nil {
		return nil, err
	}
	s := &shards{o.Out, temp, lock, o.ShardRows, map[string]*split{}}
	return s, s.clean()
}

// shardName matches the names of files that an import writes.
var shardName = regexp.MustCompile(`^(train|validation|test)-\d+(-of-\d+\.parquet)?(\.tmp)?$`)

// clean removes the files of a killed import. Other files are an error.
func (s *shards) clean() error {
	entries, err := os.ReadDir(s.temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.temp, e.Name())
		switch {
		case e.Name() == folderlock.Name:
		case shardName.MatchString(e.Name()) && e.Type().IsRegular():
			err = errors.Join(err, os.Remove(path))
		default:
			err = errors.Join(err, fmt.Errorf("%s does not belong to an import; move it elsewhere", path))
		}
	}
	if err != nil {
		s.lock.Release()
	}
	return err
}

func (s *shards) write(row data.Row, name string) error {
	part := s.splits[name]
	if part == nil {
		part = &split{}
		s.splits[name] = part
	}
	if part.rows == s.rows {
		if err := part.close(); err != nil {
			return err
		}
	}
	if part.writer == nil {
		path := filepath.Join(s.temp, fmt.Sprintf("%s-%05d", name, len(part.files)))
		w, err := data.Create(path)
		if err != nil {
			return err
		}
		part.writer, part.files = w, append(part.files, path)
	}
	part.rows++
	return part.writer.Write(row)
}

func (p *split) close() error {
	if p.writer == nil {
		return nil
	}
	err := p.writer.Close()
	p.writer, p.rows = nil, 0
	return err
}

// finish renames the files, to train-00000-of-00002.parquet and so on, and then the folder.
func (s *shards) finish() ([]string, error) {
	var files []string
	for _, name := range splitNames {
		part := s.splits[name]
		if part == nil {
			continue
		}
		if err := part.close(); err != nil {
			return nil, errors.Join(err, s.abandon())
		}
		for i, path := range part.files {
			final := fmt.Sprintf("%s-%05d-of-%05d.parquet", name, i, len(part.files))
			if err := os.Rename(path, filepath.Join(s.temp, final)); err != nil {
				return nil, errors.Join(err, s.abandon())
			}
			files = append(files, filepath.Join(s.out, final))
		}
	}
	// An empty output folder is replaced; Remove fails if it was filled in the meantime.
	if err := os.Remove(s.out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, s.abandon())
	}
	if err := os.Rename(s.temp, s.out); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	// The lock file was moved too, so another import into the folder finds it not empty.
	return files, errors.Join(os.Remove(filepath.Join(s.out, folderlock.Name)), s.lock.Release())
}

// abandon removes the temporary folder.
func (s *shards) abandon() error {
	for _, part := range s.splits {
		if part.writer != nil {
			part.writer.Abort()
		}
	}
	return errors.Join(os.RemoveAll(s.temp), s.lock.Release())
}
