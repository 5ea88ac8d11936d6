package hub

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"patchwork/vlm/hub/blockcache"
)

// StreamOptions are the settings of a stream.
type StreamOptions struct {
	CacheDir     string        // "": no cache on disk
	CacheBytes   int64         // of all blocks on disk; 0: none are kept
	CacheReserve int64         // bytes of the disk that the cache leaves free
	Timeout      time.Duration // reads wait this long for a network that is down; 0 = without end
	Connections  int           // at a time; 0 = 8

	// Earlier are names of files that an earlier run read. A reference to one of their
	// repositories is read at the same commit, whatever its branch is at by now.
	Earlier []string
	// Splits returns the splits (train, test, …) to which the files of a folder belong if there
	// are several, which is an error; may be nil.
	Splits func(names []string) []string

	Warn func(string) // may be nil
	Note func(string) // may be nil
}

// A Stream reads files of repositories by ranges, through a cache on disk. It is safe for
// concurrent use.
type Stream struct {
	client *Client
	o      StreamOptions
	cache  *blockcache.Cache
	blocks *blockReader
	outage outage
	gate   gate
	pause  time.Duration // after the first failure of a read

	blockSize, headSize, tailSize int64 // see layout; smaller in tests

	mu    sync.Mutex
	files map[string]*RemoteFile // by name
}

// DefaultConnections is the number of connections of a stream.
const DefaultConnections = 8

// stallTimeout is how long a connection may be silent. Reads are retried, so it is shorter than
// a download's.
const stallTimeout = 30 * time.Second

// firstPause is shorter than a download's: a run waits for each block.
const firstPause = 200 * time.Millisecond

// NewStream returns a stream from the client's hub. Requests end with ctx. Close must be
// called.
func (c *Client) NewStream(ctx context.Context, o StreamOptions) *Stream {
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	own := *c
	own.Idle, own.Note = min(own.Idle, stallTimeout), o.Warn
	if o.Timeout > 0 {
		own.Idle = min(own.Idle, max(time.Second, o.Timeout/2))
	}
	if own.HTTP.Transport == nil {
		own.HTTP = &http.Client{Transport: rangeTransport(o.Connections)}
	}
	s := &Stream{
		client: &own, o: o, pause: min(c.Pause, firstPause), files: map[string]*RemoteFile{},
		blockSize: 4 << 20, headSize: 64 << 10, tailSize: 256 << 10,
		cache: blockcache.New(blockcache.Options{Dir: o.CacheDir, Limit: o.CacheBytes, Reserve: o.CacheReserve, Warn: o.Warn}),
	}
	s.outage.stream = s
	s.blocks = newBlockReader(ctx, s)
	return s
}

// rangeTransport returns a transport with several connections. HTTP/2 would send all requests
// over one, whose speed a single lost packet limits.
func rangeTransport(connections int) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*connections, connections
	t.ReadBufferSize = 128 << 10
	t.ResponseHeaderTimeout = stallTimeout
	return t
}

// Close ends all requests and waits for them.
func (s *Stream) Close() error {
	s.blocks.close()
	s.client.HTTP.CloseIdleConnections()
	return nil
}

func (s *Stream) warn(format string, args ...any) {
	if s.o.Warn != nil {
		s.o.Warn(fmt.Sprintf(format, args...))
	}
}

func (s *Stream) note(format string, args ...any) {
	if s.o.Note != nil {
		s.o.Note(fmt.Sprintf(format, args...))
	}
}

// Resolve returns the files that references name, sorted by name and without duplicates: a
// file, a pattern, or a folder, which stands for the *.parquet directly in it. Their revisions
// are pinned to commits.
func (s *Stream) Resolve(ctx context.Context, references []string) ([]*RemoteFile, error) {
	var found []*RemoteFile
	for _, text := range references {
		ref, err := ParseReference(text)
		if err != nil {
			return nil, err
		}
		files, err := s.resolve(ctx, ref)
		if err != nil {
			return nil, s.describe(ref, err)
		}
		found = append(found, files...)
	}
	slices.SortFunc(found, func(a, b *RemoteFile) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(found, func(a, b *RemoteFile) bool { return a.name == b.name }), nil
}

func (s *Stream) resolve(ctx context.Context, ref Reference) ([]*RemoteFile, error) {
	repo, err := s.pin(ctx, ref)
	if err != nil {
		return nil, err
	}
	files, err := s.find(ctx, repo, ref.Path)
	if err != nil {
		return nil, err
	}
	if err := s.client.fetchAllMetadata(ctx, repo, files, s.o.Connections); err != nil {
		return nil, err
	}
	var found []*RemoteFile
	for _, f := range files {
		found = append(found, s.file(repo, f))
	}
	return found, nil
}

// file returns the one RemoteFile of a file.
func (s *Stream) file(r Repo, f File) *RemoteFile {
	name := Reference{r, f.Path}.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[name] == nil {
		s.files[name] = &RemoteFile{
			stream: s, repo: r, file: f, name: name,
			layout: layout{f.Size, s.headSize, s.blockSize, s.tailSize},
			key:    fmt.Sprintf("%s %s %s %s %s %d", s.client.Endpoint, r.Kind, r.Name, f.version(r), f.Path, s.blockSize),
		}
	}
	return s.files[name]
}

// Stats are the bytes that a stream has read.
type Stats struct {
	Downloaded int64 // from the hub
	Cached     int64 // from the cache on disk
	Requests   int64 // for ranges
	Damaged    int64 // blocks of the cache that were damaged, and fetched again
}

// Stats returns the statistics so far.
func (s *Stream) Stats() Stats {
	return Stats{s.blocks.downloaded.Load(), s.blocks.cached.Load(), s.blocks.requests.Load(), s.cache.Damaged()}
}
