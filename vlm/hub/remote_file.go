package hub

import (
	"context"
	"errors"
	"io"
	"sync"

	"patchwork/vlm/hub/blockcache"
)

// A RemoteFile is a file of a repository at a commit.
type RemoteFile struct {
	stream *Stream
	repo   Repo
	file   File
	name   string
	key    string // of its blocks in the cache
	layout layout

	mu      sync.Mutex
	storage string            // where the hub redirected to
	etags   map[string]string // of earlier answers, by host
}

// Name returns hf://datasets/OWNER/NAME@COMMIT/PATH.
func (f *RemoteFile) Name() string { return f.name }

// Open returns a reader, whose reads end with ctx. It does not wait for the hub, but fetches the
// magic number and the footer of a parquet file ahead.
func (f *RemoteFile) Open(ctx context.Context) (*RemoteReader, error) {
	if f.file.Size > 0 {
		last := f.layout.index(f.file.Size - 1)
		f.stream.blocks.prefetch(f, 0, 0)
		f.stream.blocks.prefetch(f, last, last)
	}
	return &RemoteReader{f, ctx}, nil
}

func (f *RemoteFile) storageURL() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.storage
}

func (f *RemoteFile) setStorage(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.storage = address
}

func (f *RemoteFile) forgetStorage(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.storage == address {
		f.storage = ""
	}
}

func (f *RemoteFile) blockKey(index int64) blockcache.Key {
	return blockcache.Key{File: f.key, Block: index}
}

// A RemoteReader reads an open RemoteFile. It is safe for concurrent use.
type RemoteReader struct {
	file *RemoteFile
	ctx  context.Context
}

// Size returns the file's size in bytes.
func (r *RemoteReader) Size() int64 { return r.file.file.Size }

// Version returns the hash of the file's content, or the commit if the hub reports none.
func (r *RemoteReader) Version() string { return r.file.file.version(r.file.repo) }

// Close does nothing: connections are the stream's.
func (r *RemoteReader) Close() error { return nil }

// ReadAt waits for the hub as long as the stream's timeout allows. Except for io.EOF, an error
// says that bytes could not be read, not that they are damaged. It does not name the file.
func (r *RemoteReader) ReadAt(p []byte, offset int64) (n int, err error) {
	size := r.Size()
	if offset < 0 {
		return 0, errors.New("negative offset")
	}
	if offset >= size {
		return 0, io.EOF
	}
	if int64(len(p)) > size-offset {
		p, err = p[:size-offset], io.EOF
	}
	if len(p) == 0 {
		return 0, err
	}
	first, last := r.file.layout.index(offset), r.file.layout.index(offset+int64(len(p))-1)
	if last > first {
		r.file.stream.blocks.prefetch(r.file, first+1, last)
	}
	for i := first; i <= last; i++ {
		block, failed := r.file.stream.blocks.get(r.ctx, blockID{r.file, i})
		if failed != nil {
			return n, failed
		}
		start, _ := r.file.layout.bounds(i)
		n += copy(p[n:], block[offset+int64(n)-start:])
	}
	return n, err
}

// Prefetch requests bytes that will be read soon, if they are not on disk. It does not wait.
// What exceeds the memory and disk for it is left to ReadAt.
func (r *RemoteReader) Prefetch(offset, length int64) {
	end := min(offset+length, r.Size())
	if offset < 0 || offset >= end || r.ctx.Err() != nil {
		return
	}
	r.file.stream.blocks.prefetch(r.file, r.file.layout.index(offset), r.file.layout.index(end-1))
}
