package hub

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"patchwork/engine"
	"patchwork/internal/disk"
	"patchwork/internal/folderlock"
)

// Options are the settings of a fetch.
type Options struct {
	Out     string   // folder; created if missing
	Include []string // patterns of path.Match for a path or its last element; nil: the files to load a model, or the whole data set
	Exclude []string
	Jobs    int // concurrent downloads; 0 = 4
	Observe Observer
}

// Observer observes the progress of a fetch. Its functions may be nil. Bytes and Done are
// called concurrently.
type Observer struct {
	Start func(r Repo, files []File, bytes int64)
	Bytes func(here int64) // bytes on disk, of all files
	Done  func(f File, downloaded int64)
}

// Result summarizes a fetch.
type Result struct {
	Repo       string `json:"repo"`
	Kind       Kind   `json:"kind"`
	Commit     string `json:"commit"`
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"`
	Downloaded int64  `json:"downloaded_bytes"` // by this fetch
	Out        string `json:"out"`
}

// Fetch downloads the selected files of a repository into a folder. It resumes an
// interrupted fetch.
func (c *Client) Fetch(ctx context.Context, r Repo, o Options) (Result, error) {
	r, files, err := c.List(ctx, r)
	if err != nil {
		return Result{}, err
	}
	if files, err = selectFiles(r, files, o.Include, o.Exclude); err != nil {
		return Result{}, err
	}
	if o.Jobs <= 0 {
		o.Jobs = 4
	}
	if err := checkNames(r, files); err != nil { // before any is requested or printed
		return Result{}, err
	}
	if err := c.fetchAllMetadata(ctx, r, files, o.Jobs); err != nil {
		return Result{}, err
	}
	if err := checkNames(r, files); err != nil {
		return Result{}, err
	}
	if err := checkDiskSpace(r, files, o.Out); err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return Result{}, err
	}
	lock, err := folderlock.Take(o.Out)
	if errors.Is(err, folderlock.ErrBusy) {
		return Result{}, fmt.Errorf("%s: %w", o.Out, ErrBusy)
	} else if err != nil {
		return Result{}, err
	}
	result, err := c.downloadAll(ctx, r, files, o)
	return result, errors.Join(err, lock.Remove())
}

// ErrBusy reports a folder that another fetch or a run is using.
var ErrBusy = errors.New("another fetch or a run is using it; wait until it ends, or choose another --out")

// fetchAllMetadata requests the sizes and hashes that the listing lacks.
func (c *Client) fetchAllMetadata(ctx context.Context, r Repo, files []File, jobs int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, f := range files {
		if f.Size >= 0 && f.hashed() {
			continue
		}
		g.Go(func() (err error) {
			files[i], err = c.fetchMetadata(ctx, r, f)
			return err
		})
	}
	return g.Wait()
}

// DiskSpaceError reports that a disk has too little space for a fetch.
type DiskSpaceError struct {
	Out        string
	Files      int
	Need, Free int64 // bytes
}

func (e *DiskSpaceError) Error() string {
	return fmt.Sprintf("%d files need %s more, but only %s are free for %s; free some space, select files with --include, or choose another --out",
		e.Files, engine.Bytes(e.Need), engine.Bytes(e.Free), e.Out)
}

// checkDiskSpace compares the bytes still to download with the free disk space.
func checkDiskSpace(r Repo, files []File, out string) error {
	var need int64
	for _, f := range files {
		here := filepath.Join(out, filepath.FromSlash(f.Path))
		missing := f.Size
		if info, err := os.Stat(here); err == nil && info.Size() == f.Size {
			missing = 0
		} else if info, err := os.Stat(partName(here, f.version(r))); err == nil && info.Size() <= f.Size {
			missing -= info.Size()
		}
		need += min(missing, math.MaxInt64-need)
	}
	if free, ok := disk.Free(out); ok && need > free {
		return &DiskSpaceError{out, len(files), need, free}
	}
	return nil
}

// downloadAll downloads the files, o.Jobs at a time.
func (c *Client) downloadAll(ctx context.Context, r Repo, files []File, o Options) (Result, error) {
	result := Result{Repo: r.Name, Kind: r.Kind, Commit: r.Revision, Files: len(files), Out: o.Out}
	for _, f := range files {
		result.Bytes += f.Size
	}
	if o.Observe.Start != nil {
		o.Observe.Start(r, files, result.Bytes)
	}
	var here, downloaded atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs)
	for _, f := range files {
		g.Go(func() error {
			n, err := c.download(ctx, r, f, o.Out, func(delta int64) {
				now := here.Add(delta)
				if o.Observe.Bytes != nil {
					o.Observe.Bytes(now)
				}
			})
			downloaded.Add(n)
			if err == nil && o.Observe.Done != nil {
				o.Observe.Done(f, n)
			}
			return err
		})
	}
	err := g.Wait()
	result.Downloaded, result.Bytes = downloaded.Load(), max(result.Bytes, here.Load())
	return result, err
}

// defaultModelFiles are the files that a model is loaded from. Repositories often also have
// other formats of the weights.
var defaultModelFiles = []string{
	"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
	"chat_template.jinja", "*.safetensors", "model.safetensors.index.json", "LICENSE*",
}

func selectFiles(r Repo, files []File, include, exclude []string) ([]File, error) {
	for _, p := range slices.Concat(include, exclude) {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("invalid pattern %q: %w", p, err)
		}
	}
	var chosen []File
	for _, f := range files {
		wanted := matches(include, f.Path)
		switch {
		case include == nil && r.Kind == Dataset:
			wanted = true
		case include == nil:
			wanted = !strings.Contains(f.Path, "/") && matches(defaultModelFiles, f.Path)
		}
		if wanted && !matches(exclude, f.Path) {
			chosen = append(chosen, f)
		}
	}
	if include == nil && r.Kind == Model && len(withSuffix(chosen, ".safetensors")) == 0 {
		if gguf := withSuffix(files, ".gguf"); len(gguf) > 0 {
			files = gguf
		}
		return nil, fmt.Errorf("%s has no safetensors weights; select with --include from: %s", r, listNames(files))
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s: no file matches; it has: %s", r, listNames(files))
	}
	return chosen, nil
}

func withSuffix(files []File, suffix string) []File {
	return slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !strings.HasSuffix(f.Path, suffix) })
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		whole, _ := path.Match(p, name)
		last, _ := path.Match(p, path.Base(name))
		return whole || last || strings.HasSuffix(p, "/") && strings.HasPrefix(name, p)
	})
}

// listNames lists up to 12 files for an error message.
func listNames(files []File) string {
	const limit = 12
	var s []string
	for _, f := range files {
		if !strings.HasPrefix(f.Path, ".git") {
			s = append(s, printable(f.Path))
		}
	}
	if len(s) > limit {
		s = append(s[:limit:limit], fmt.Sprintf("and %d more", len(s)-limit))
	}
	return strings.Join(s, ", ")
}
