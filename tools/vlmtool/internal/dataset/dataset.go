// Package dataset opens what --data names: files on disk and files of the hub.
package dataset

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/data"
	"patchwork/vlm/hub"
)

// Usage is the help of --data.
const Usage = "read parquet files from `PATH`: a file, glob, folder or hf://datasets/OWNER/NAME[@REV]/PATH, several separated by commas; can be repeated"

// Flags are the flags of a command that reads data sets.
type Flags struct {
	cache   string
	size    int64
	timeout time.Duration
}

const (
	defaultCacheBytes = 20e9
	minCacheBytes     = 1e9 // a few row groups, whose columns are read twice
	cacheReserve      = 1 << 30
)

// Declare declares the flags.
func (f *Flags) Declare(s *pflag.FlagSet) {
	s.StringVar(&f.cache, "data-cache", "", "keep what is read of hf:// data in `DIR`, not in the user's cache folder")
	cli.SizeFlag(s, &f.size, "data-cache-size", defaultCacheBytes, "keep at most `SIZE` of it, the least recently used goes first; 0 = nothing")
	s.DurationVar(&f.timeout, "data-timeout", 30*time.Minute, "end when the hub has not answered for this `DURATION`; 0 = never")
}

// check checks the flags.
func (f *Flags) check() error {
	switch info, err := os.Stat(f.cache); {
	case f.cache != "" && err == nil && !info.IsDir():
		return usage.Errorf("--data-cache %s is a file; name a folder", f.cache)
	case f.size > 0 && f.size < minCacheBytes:
		return usage.Errorf("--data-cache-size is less than 1GB, which a few row groups take; 0 keeps nothing")
	case f.timeout < 0:
		return usage.Errorf("--data-timeout cannot be %s; 0 waits without end", f.timeout)
	}
	return nil
}

// A Source opens files. Close must be called when none is read any more.
type Source struct {
	flags   *Flags
	earlier []string
	stream  *hub.Stream // nil until a file of the hub is named

	mu         sync.Mutex
	warn, note func(string)
}

// Open returns a source. earlier are the names of the files that a resumed run has read: of
// their repositories it reads the same commits.
func (f *Flags) Open(earlier []string) *Source {
	return &Source{
		flags: f, earlier: earlier,
		warn: func(s string) { slog.Warn(s) }, note: func(s string) { slog.Info(s) },
	}
}

// Report sets the functions that report an outage of the hub and the like, at any time.
func (s *Source) Report(warn, note func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warn, s.note = warn, note
}

// Close ends all requests.
func (s *Source) Close() error {
	if s.stream == nil {
		return nil
	}
	stats := s.stream.Stats()
	slog.Debug(fmt.Sprintf("%s were read from the hub in %d requests, %s from the cache",
		engine.Bytes(stats.Downloaded), stats.Requests, engine.Bytes(stats.Cached)))
	return s.stream.Close()
}

// Files returns the files that paths name, sorted and without duplicates. ctx ends the requests
// to the hub, also later ones.
func (s *Source) Files(ctx context.Context, paths []string) ([]data.File, error) {
	local, remote := split(paths)
	if err := checkReferences(local, remote); err != nil {
		return nil, err
	}
	var files []data.File
	if len(local) > 0 || len(remote) == 0 {
		found, err := data.Resolve(local)
		if err != nil {
			return nil, usage.Error{Err: err}
		}
		files = found
	}
	if len(remote) == 0 {
		return files, nil
	}
	if err := s.openStream(ctx); err != nil {
		return nil, err
	}
	found, err := s.stream.Resolve(ctx, remote)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		files = append(files, remoteFile{f})
	}
	slices.SortStableFunc(files, func(a, b data.File) int { return cmp.Compare(a.Name(), b.Name()) })
	return files, nil
}

// IsRemote reports whether a path names files of the hub.
func IsRemote(path string) bool { return strings.Contains(path, hub.Scheme) }

// split separates paths from references to the hub, whose lists are split at commas.
func split(paths []string) (local, remote []string) {
	for _, path := range paths {
		if !IsRemote(path) {
			local = append(local, path)
			continue
		}
		for part := range strings.SplitSeq(path, ",") {
			switch {
			case strings.HasPrefix(part, hub.Scheme):
				remote = append(remote, part)
			case part != "":
				local = append(local, part)
			}
		}
	}
	return local, remote
}

// checkReferences checks the form of all paths before any is opened.
func checkReferences(local, remote []string) error {
	for _, path := range local {
		if strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://") {
			return usage.Errorf("--data %s: addresses are not read; files of the hub are named hf://datasets/OWNER/NAME/PATH", path)
		}
	}
	for _, ref := range remote {
		if _, err := hub.ParseReference(ref); err != nil {
			return usage.Error{Err: err}
		}
	}
	return nil
}

func (s *Source) openStream(ctx context.Context) error {
	if s.stream != nil {
		return nil
	}
	if err := s.flags.check(); err != nil {
		return err
	}
	client, err := hub.NewClient()
	if err != nil {
		return usage.Error{Err: err}
	}
	o := hub.StreamOptions{
		CacheDir: s.flags.cache, CacheBytes: s.flags.size, CacheReserve: cacheReserve, Timeout: s.flags.timeout,
		Earlier: s.earlier, Splits: data.Splits,
		Warn: func(text string) { s.report(&s.warn, text) }, Note: func(text string) { s.report(&s.note, text) },
	}
	if o.CacheDir == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			o.CacheDir = filepath.Join(dir, "patchwork", "hub")
		} else {
			slog.Warn(fmt.Sprintf("data is not cached on disk: %v; --data-cache DIR names a folder", err))
		}
	}
	s.stream = client.NewStream(ctx, o)
	return nil
}

// report calls one of the source's functions.
func (s *Source) report(which *func(string), text string) {
	s.mu.Lock()
	f := *which
	s.mu.Unlock()
	f(text)
}

// remoteFile is a hub's file as one of a data set.
type remoteFile struct{ *hub.RemoteFile }

func (f remoteFile) Open(ctx context.Context) (data.Reader, error) { return f.RemoteFile.Open(ctx) }
