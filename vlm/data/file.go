package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"patchwork/internal/smallfile"
)

// A File is a parquet file of a data set, on disk or elsewhere.
type File interface {
	Name() string // a path or URL: for messages, bad_rows.jsonl and run.json
	Open(ctx context.Context) (Reader, error)
}

// A Reader reads an open File. Reads are safe for concurrent use.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// A Prefetcher is a Reader that can be told which bytes will be read soon. Prefetch does
// not wait.
type Prefetcher interface {
	Prefetch(offset, length int64)
}

// A Versioned reader tells contents apart that have the same size and footer, by the time of the
// last change, a commit or a tag, and notices contents that change while they are read.
type Versioned interface {
	Version() string
}

// Local returns the files at paths on disk.
func Local(paths ...string) []File {
	files := make([]File, len(paths))
	for i, path := range paths {
		files[i] = localFile(path)
	}
	return files
}

// InMemory returns a file of the given contents, which must not change.
func InMemory(name string, contents []byte) File { return memoryFile{name, contents} }

type memoryFile struct {
	name     string
	contents []byte
}

func (f memoryFile) Name() string { return f.name }

func (f memoryFile) Open(context.Context) (Reader, error) {
	return memoryReader{bytes.NewReader(f.contents)}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// localFile is a path.
type localFile string

func (f localFile) Name() string { return string(f) }

func (f localFile) Open(context.Context) (Reader, error) {
	file, err := smallfile.Open(string(f), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &localReader{file, info.Size()}, nil
}

// localReader is an open file on disk.
type localReader struct {
	*os.File
	size int64
}

func (r *localReader) Size() int64 { return r.size }

// Version also finds a file that is written to while it is read.
func (r *localReader) Version() string {
	info, err := r.Stat()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}

// failingReader remembers an error of its Reader, which tells a disk or network that fails from
// damaged contents: the parquet reader reports both in words of its own.
type failingReader struct {
	Reader
	mu  sync.Mutex
	err error
}

func (r *failingReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.Reader.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
	return n, err
}

// failure returns the last error of the disk or network, or nil.
func (r *failingReader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
