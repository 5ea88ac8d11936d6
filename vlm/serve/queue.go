package serve

import (
	"context"
	"slices"
	"time"
)

// job is a request that waits or is being answered.
type job struct {
	Request
	ctx    context.Context
	cancel context.CancelFunc
	answer *Answer
	since  time.Time
}

// queue holds jobs by client; clients take turns.
type queue struct {
	clients []*client // the next one first; none is without jobs
	n       int
}

type client struct {
	name string
	jobs []*job // the oldest first
}

func (q *queue) client(name string) *client {
	for _, c := range q.clients {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (q *queue) push(j *job) {
	c := q.client(j.Client)
	if c == nil {
		c = &client{name: j.Client}
		q.clients = append(q.clients, c)
	}
	c.jobs = append(c.jobs, j)
	q.n++
}

// pop returns the oldest job of the client whose turn it is; nil if there is none.
func (q *queue) pop() *job {
	if q.n == 0 {
		return nil
	}
	c := q.clients[0]
	j := c.jobs[0]
	c.jobs, q.clients = c.jobs[1:], q.clients[1:]
	if len(c.jobs) > 0 {
		q.clients = append(q.clients, c)
	}
	q.n--
	return j
}

// remove removes a job and reports whether it was there.
func (q *queue) remove(j *job) bool {
	c := q.client(j.Client)
	if c == nil {
		return false
	}
	i := slices.Index(c.jobs, j)
	if i < 0 {
		return false
	}
	c.jobs = slices.Delete(c.jobs, i, i+1)
	if len(c.jobs) == 0 {
		q.clients = slices.DeleteFunc(q.clients, func(o *client) bool { return o == c })
	}
	q.n--
	return true
}

// displace removes and returns the newest job of the client with the most, so that one of another
// client with fewer fits into a full queue; nil if that would not be fairer.
func (q *queue) displace(newcomer string) *job {
	if q.n == 0 {
		return nil
	}
	most := slices.MaxFunc(q.clients, func(a, b *client) int { return len(a.jobs) - len(b.jobs) })
	has := 0
	if c := q.client(newcomer); c != nil {
		has = len(c.jobs)
	}
	if len(most.jobs) <= has+1 {
		return nil
	}
	j := most.jobs[len(most.jobs)-1]
	q.remove(j)
	return j
}
