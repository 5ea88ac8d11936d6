package data

import (
	"container/list"
	"sync"
)

// A cache keeps the row groups used last, up to a number of bytes.
type cache struct {
	limit int

	mu      sync.Mutex
	used    int
	entries map[int]*list.Element
	order   *list.List // of *entry, the one used last at the front
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

// get returns a group's rows. Whoever asks first reads them, without keeping
// others from other groups. An error is kept like rows.
func (c *cache) get(group int, read func() ([]Row, error)) ([]Row, error) {
	e := c.touch(group)
	e.once.Do(func() {
		e.rows, e.err = read()
		c.account(e)
	})
	return e.rows, e.err
}

// touch moves the group's entry to the front, where there is none a new one.
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

// account notes the size of a new entry and drops the oldest ones that no
// longer fit, but never e itself.
func (c *cache) account(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range e.rows {
		e.bytes += e.rows[i].bytes()
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
