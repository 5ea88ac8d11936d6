package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patchwork/internal/smallfile"
)

// IndexFile lists the shards of a model in several files.
const IndexFile = "model.safetensors.index.json"

// SingleFile holds a model in one file.
const SingleFile = "model.safetensors"

// Set is a model's tensors, in one file or several.
type Set struct {
	files    []*File
	byTensor map[string]*File // by tensor
}

// OpenSet opens a folder's model.safetensors, or the shards of its
// model.safetensors.index.json. Every tensor of the index must be in its shard, and the
// shards must have no other tensors.
func OpenSet(dir string) (*Set, error) {
	single := filepath.Join(dir, SingleFile)
	index := filepath.Join(dir, IndexFile)
	if _, err := os.Stat(single); err == nil || !exists(index) {
		f, err := Open(single)
		if err != nil {
			return nil, err
		}
		s := &Set{files: []*File{f}, byTensor: map[string]*File{}}
		for _, name := range f.Names() {
			s.byTensor[name] = f
		}
		return s, nil
	}
	s := &Set{byTensor: map[string]*File{}}
	if err := s.openShards(dir, index); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// maxIndex is the maximum size of an index in bytes; one of 91,991 tensors in 163 shards
// has 9 MB.
const maxIndex = 64 << 20

func (s *Set) openShards(dir, index string) error {
	text, err := smallfile.Read(index, maxIndex)
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return &FormatError{index, fmt.Sprintf(format, args...)}
	}
	var f struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return bad("it is not JSON: %v", err)
	}
	if len(f.WeightMap) == 0 {
		return bad("it has no weight_map")
	}
	shards := map[string]*File{}
	for name, shard := range f.WeightMap {
		if !filepath.IsLocal(shard) || filepath.Base(shard) != shard {
			return bad("shard %q is not a file name", shard)
		}
		if shards[shard] == nil {
			file, err := Open(filepath.Join(dir, shard))
			if err != nil {
				return err
			}
			s.files, shards[shard] = append(s.files, file), file
		}
		if _, ok := shards[shard].Tensor(name); !ok {
			return bad("tensor %q is not in %s", name, shard)
		}
		s.byTensor[name] = shards[shard]
	}
	for shard, file := range shards {
		for _, name := range file.Names() {
			if f.WeightMap[name] != shard {
				return bad("tensor %q of %s is not in its weight_map", name, shard)
			}
		}
	}
	return nil
}

// Close closes the files.
func (s *Set) Close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Names returns the tensors' names, sorted.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.byTensor))
	for n := range s.byTensor {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Files returns the files' paths, sorted.
func (s *Set) Files() []string {
	var paths []string
	for _, f := range s.files {
		paths = append(paths, f.name)
	}
	slices.Sort(paths)
	return paths
}

// Tensor describes a tensor; ok is false if no file has a tensor of that name.
func (s *Set) Tensor(name string) (t Tensor, ok bool) {
	f, ok := s.byTensor[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensor(name)
}

// ReadFloats calls File.ReadFloats of the tensor's file.
func (s *Set) ReadFloats(name string, from int, dst []float32) error {
	f, ok := s.byTensor[name]
	if !ok {
		return fmt.Errorf("there is no tensor %q", name)
	}
	return f.ReadFloats(name, from, dst)
}
