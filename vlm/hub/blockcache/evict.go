package blockcache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Several processes count their own blocks and see those of the others when they scan the
// folder: after each rescanPart of the limit, and before they remove any. A marginPart is left
// for what others have added since, and another is removed at a time, so that scans are rarer.
const (
	rescanPart = 64
	marginPart = 16
)

// staleTemp is the age of a temporary file that a killed process left.
const staleTemp = time.Hour

// makeSpace makes space for a block and counts it; it reports whether there is.
func (c *Cache) makeSpace(size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.writable() {
		return false
	}
	c.full = false
	if c.scanned && c.written <= c.o.Limit/rescanPart && c.used+size <= c.budget() {
		c.take(size)
		return true
	}
	files, err := c.scan()
	if err != nil {
		c.fail(err)
		return false
	}
	budget := c.budget()
	if c.used+size <= budget {
		c.take(size)
		return true
	}
	if size > budget {
		c.full = true
		if size <= c.o.Limit-c.o.Limit/marginPart {
			c.warn(fmt.Sprintf("less than %d MiB are free for the cache in %s; reading goes on without it; %s",
				c.o.Reserve>>20, c.o.Dir, wayOut))
		}
		return false
	}
	c.remove(files, max(0, budget-budget/marginPart-size))
	if c.used+size > budget {
		return false
	}
	c.take(size)
	return true
}

// take counts a block before it is written, so that others at the same time do not exceed the
// budget. c.mu is held.
func (c *Cache) take(size int64) {
	c.used += size
	c.written += size
	c.being += size
}

// budget is the number of bytes that the blocks may take: the limit, or what leaves the
// reserve of the disk free. c.mu is held.
func (c *Cache) budget() int64 {
	limit := c.o.Limit - c.o.Limit/marginPart
	free, ok := freeSpace(c.o.Dir)
	if !ok {
		return limit
	}
	return min(limit, c.used+free-c.o.Reserve)
}

// cached is a file of the cache.
type cached struct {
	path string
	size int64
	used time.Time
}

// scan counts the bytes of all blocks and removes stale temporary files. c.mu is held.
func (c *Cache) scan() ([]cached, error) {
	var files []cached
	total := int64(0)
	err := filepath.WalkDir(filepath.Join(c.o.Dir, blocksDir), func(path string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !d.IsDir() {
			info, err = d.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile by another process
			return nil
		case err != nil || d.IsDir():
			return err
		case !strings.HasPrefix(d.Name(), tempPrefix):
			total += info.Size()
			files = append(files, cached{path, info.Size(), info.ModTime()})
		case time.Since(info.ModTime()) > staleTemp:
			return ignoreMissing(os.Remove(path))
		}
		return nil
	})
	c.scanned, c.used, c.written = true, total+c.being, 0
	return files, err
}

// remove removes the least recently used files until at most keep bytes are left. c.mu is held.
func (c *Cache) remove(files []cached, keep int64) {
	slices.SortFunc(files, func(a, b cached) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if c.used <= keep {
			return
		}
		if ignoreMissing(os.Remove(f.path)) == nil {
			c.used -= f.size
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
