package data

import (
	"container/list"
	"sync"
)

// A cache is an LRU cache of decoded row groups, limited by their size in bytes.
type cache struct {
	limit int

	mu      sync.Mutex
	used    int
	entries map[int]*list.Element
	order   *list.List // of *entry, most recently used first
}

type entry struct {
	group int
	bytes int
	once  sync.Once
	rows  []Row
	err   error
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: map[int]*list.Element{}, order: list.New()}
}

// get returns a group's rows, calling read once per group. Reads of different groups run
// concurrently. Errors are cached like rows.
func (c *cache) get(group int, read func() ([]Row, error)) ([]Row, error) {
	e := c.touch(group)
	e.once.Do(func() {
		e.rows, e.err = read()
		c.account(e)
	})
	return e.rows, e.err
}

// touch moves the group's entry to the front, creating it if needed.
func (c *cache) touch(group int) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[group]; ok {
		c.order.MoveToFront(at)
		return at.Value.(*entry)
	}
	e := &entry{group: group}
	c.entries[group] = c.order.PushFront(e)
	return e
}

// account adds the size of a new entry and evicts the least recently used entries
// beyond the limit, but never e itself.
func (c *cache) account(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range e.rows {
		e.bytes += e.rows[i].Bytes()
	}
	c.used += e.bytes
	for at := c.order.Back(); at != nil && c.used > c.limit; {
		old, newer := at.Value.(*entry), at.Prev()
		if old != e && old.bytes > 0 {
			c.order.Remove(at)
			delete(c.entries, old.group)
			c.used -= old.bytes
		}
		at = newer
	}
}
