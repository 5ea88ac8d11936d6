package importer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/vlm/data"
)

const defaultShardRows = 10_000

// shards are the files being written, in a folder beside their own.
type shards struct {
	out, temp string
	rows      int // of a file
	splits    map[string]*split
}

// split is the train or the test set.
type split struct {
	writer *data.Writer
	files  []string
	rows   int // in the open file
}

func newShards(o Options) (*shards, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(o.Out)), 0o755); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(o.Out)), ".import-")
	if err != nil {
		return nil, err
	}
	return &shards{o.Out, temp, o.ShardRows, map[string]*split{}}, os.Chmod(temp, 0o755)
}

func (s *shards) write(row data.Row, test bool) error {
	name := "train"
	if test {
		name = "test"
	}
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

// finish gives the files their names, train-00000-of-00002.parquet, and the folder
// its own.
func (s *shards) finish() ([]string, error) {
	var files []string
	for _, name := range []string{"train", "test"} {
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
	// An empty folder gives way; one that was filled in the meantime does not.
	if err := os.Remove(s.out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, s.abandon())
	}
	if err := os.Rename(s.temp, s.out); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return files, nil
}

// abandon removes what was written.
func (s *shards) abandon() error {
	for _, part := range s.splits {
		if part.writer != nil {
			part.writer.Abort()
		}
	}
	return os.RemoveAll(s.temp)
}
