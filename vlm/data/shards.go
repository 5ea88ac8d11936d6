package data

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// openShards limits the files that a Dataset keeps open while none of their row groups is
// read. Opening one again parses its footer, which takes long if it has thousands of groups.
const openShards = 8

// A shardCache keeps the files of a data set open that were used last. It is safe for
// concurrent use.
type shardCache struct {
	ctx context.Context // ends all reads

	mu   sync.Mutex
	open []*openFile // the least recently used first
}

// openFile is a file in a shardCache.
type openFile struct {
	number int // in the data set
	users  int
	once   sync.Once
	shard  *shard
	err    error
}

// use calls f with an open file. The error is a *DataError or that of ctx.
func (c *shardCache) use(d *Dataset, number int, f func(*shard) error) error {
	o := c.take(number)
	o.once.Do(func() { o.shard, o.err = d.reopen(c.ctx, number) })
	defer c.release(o)
	if o.err != nil {
		return o.err
	}
	if v, ok := o.shard.file.Reader.(Versioned); ok && v.Version() != d.versions[number] {
		return d.changed(number)
	}
	return f(o.shard)
}

// take returns the entry of a file as the most recently used one.
func (c *shardCache) take(number int) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.open, func(o *openFile) bool { return o.number == number })
	o := &openFile{number: number}
	if i >= 0 {
		o = c.open[i]
		c.open = slices.Delete(c.open, i, i+1)
	}
	c.open = append(c.open, o)
	o.users++
	return o
}

// release ends a use, forgets a file that could not be opened, and closes files beyond the
// limit that nobody uses.
func (c *shardCache) release(o *openFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.users--
	if o.err != nil {
		c.open = slices.DeleteFunc(c.open, func(x *openFile) bool { return x == o })
	}
	for i := 0; i < len(c.open) && len(c.open) > openShards; {
		if c.open[i].users > 0 {
			i++
			continue
		}
		c.open[i].shard.close()
		c.open = slices.Delete(c.open, i, i+1)
	}
}

// close closes all files; none may be in use.
func (c *shardCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.open {
		o.shard.close()
	}
	c.open = nil
}

// errChanged reports a file that was replaced while the data set is in use.
var errChanged = errors.New("the file has changed since it was opened")

// reopen opens a file of the data set again and checks that it is still the same.
func (d *Dataset) reopen(ctx context.Context, number int) (*shard, error) {
	s, err := openShard(ctx, d.files[number])
	if err != nil {
		return nil, err
	}
	if s.fingerprint != d.fingerprints[number] {
		s.close()
		return nil, d.changed(number)
	}
	return s, nil
}

func (d *Dataset) changed(number int) error {
	return &DataError{File: d.files[number].Name(), Row: -1, Reason: errChanged.Error(), Err: errChanged}
}

// wrapRow returns the error of reading a row of a group as a *DataError; ctx's errors stay.
func wrapRow(ctx context.Context, g *group, row int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var e *DataError
	if errors.As(err, &e) {
		return &DataError{File: g.file.Name(), Row: row, Reason: e.Reason, Err: e.Err}
	}
	return &DataError{File: g.file.Name(), Row: row, Reason: firstLine(err)}
}
