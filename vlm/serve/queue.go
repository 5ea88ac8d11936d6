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

// queue holds what waits, by client; clients take turns.
type queue[J comparable] struct {
	clients []*client[J] // the next one first; none is without jobs
	n       int
}

type client[J comparable] struct {
	name string
	jobs []J // the oldest first
}

func (q *queue[J]) client(name string) *client[J] {
	for _, c := range q.clients {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (q *queue[J]) push(name string, j J) {
	c := q.client(name)
	if c == nil {
		c = &client[J]{name: name}
		q.clients = append(q.clients, c)
	}
	c.jobs = append(c.jobs, j)
	q.n++
}

// pop returns the oldest job of the client whose turn it is; false: there is none.
func (q *queue[J]) pop() (j J, ok bool) {
	if q.n == 0 {
		return j, false
	}
	c := q.clients[0]
	j = c.jobs[0]
	c.jobs, q.clients = c.jobs[1:], q.clients[1:]
	if len(c.jobs) > 0 {
		q.clients = append(q.clients, c)
	}
	q.n--
	return j, true
}

// remove removes a job and reports whether it was there.
func (q *queue[J]) remove(name string, j J) bool {
	c := q.client(name)
	if c == nil {
		return false
	}
	i := slices.Index(c.jobs, j)
	if i < 0 {
		return false
	}
	c.jobs = slices.Delete(c.jobs, i, i+1)
	if len(c.jobs) == 0 {
		q.clients = slices.DeleteFunc(q.clients, func(o *client[J]) bool { return o == c })
	}
	q.n--
	return true
}

// displace removes and returns the newest job of the client with the most, so that one of another
// client with fewer fits into a full queue; false if that would not be fairer.
func (q *queue[J]) displace(newcomer string) (j J, ok bool) {
	if q.n == 0 {
		return j, false
	}
	most := slices.MaxFunc(q.clients, func(a, b *client[J]) int { return len(a.jobs) - len(b.jobs) })
	has := 0
	if c := q.client(newcomer); c != nil {
		has = len(c.jobs)
	}
	if len(most.jobs) <= has+1 {
		return j, false
	}
	j = most.jobs[len(most.jobs)-1]
	q.remove(most.name, j)
	return j, true
}
