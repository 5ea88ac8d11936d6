package mpi

import (
	"context"
	"slices"
)

// Where several ranks are on each of several machines, sums are made on each machine first, so
// that a machine sends over the network what one rank would, and not once for every rank. Ranks
// with the same place on their machines exchange the machine's sums of their part.

// layout is the ranks of each machine, in order; nil unless there are several machines with the
// same number of ranks, more than one.
func (w *World) layout() [][]int {
	var machines []string
	var ranks [][]int
	for rank, p := range w.peers {
		i := slices.Index(machines, p.Machine)
		if i < 0 {
			i = len(machines)
			machines, ranks = append(machines, p.Machine), append(ranks, nil)
		}
		ranks[i] = append(ranks[i], rank)
	}
	if len(ranks) < 2 || len(ranks[0]) < 2 || slices.ContainsFunc(ranks, func(r []int) bool { return len(r) != len(ranks[0]) }) {
		return nil
	}
	return ranks
}

// place is a rank's machine and its place on it.
func (w *World) place() (machine, place int) {
	for i, ranks := range w.machines {
		if j := slices.Index(ranks, w.rank); j >= 0 {
			return i, j
		}
	}
	return 0, 0
}

// parts cuts consecutive slices of the given lengths from a slice.
func parts(from []float32, lengths []int) (out [][]float32) {
	for _, n := range lengths {
		out = append(out, from[:n:n])
		from = from[n:]
	}
	return out
}

// reduceScatterHosts is ReduceScatter in two stages.
func (c *Channel) reduceScatterHosts(ctx context.Context, data []float32, bounds []int) error {
	w := c.world
	host, place := w.place()
	local := w.machines[host]
	segment := func(rank int) []float32 { return data[bounds[rank]:bounds[rank+1]] }

	// The segments of the ranks with this place, one for each machine.
	lengths, total := make([]int, len(w.machines)), 0
	for h := range w.machines {
		lengths[h] = len(segment(w.machines[h][place]))
		total += lengths[h]
	}
	mine := lengths[host]
	free := c.floats(total*len(local) + mine*len(w.machines))
	sums := parts(free, lengths)
	free = free[total:]
	b := c.batch()
	from := make([][][]float32, len(local)) // by place and machine
	for i, peer := range local {
		if peer == w.rank {
			for h := range w.machines {
				from[i] = append(from[i], segment(w.machines[h][place]))
			}
			continue
		}
		from[i] = parts(free, lengths)
		free = free[total:]
		for h := range w.machines {
			b.receive(peer, bytesOf(from[i][h]))
		}
	}
	for i, peer := range local {
		if peer != w.rank {
			for h := range w.machines {
				b.send(peer, bytesOf(segment(w.machines[h][i])))
			}
		}
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	addends := make([][]float32, len(local))
	for h := range w.machines {
		for i := range local {
			addends[i] = from[i][h]
		}
		sum(sums[h], addends)
	}

	b = c.batch()
	addends = make([][]float32, len(w.machines))
	for h, ranks := range w.machines {
		if h == host {
			addends[h] = sums[h]
			continue
		}
		addends[h], free = free[:mine:mine], free[mine:]
		b.receive(ranks[place], bytesOf(addends[h]))
		b.send(ranks[place], bytesOf(sums[h]))
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	sum(segment(w.rank), addends)
	return nil
}

// allGatherHosts is AllGatherFloat32 in two stages.
func (c *Channel) allGatherHosts(ctx context.Context, data []float32, bounds []int) error {
	w := c.world
	host, place := w.place()
	segment := func(rank int) []byte { return bytesOf(data[bounds[rank]:bounds[rank+1]]) }
	b := c.batch()
	for h, ranks := range w.machines {
		if h != host {
			b.receive(ranks[place], segment(ranks[place]))
			b.send(ranks[place], segment(w.rank))
		}
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	b = c.batch()
	for i, peer := range w.machines[host] {
		if peer == w.rank {
			continue
		}
		for h := range w.machines {
			b.receive(peer, segment(w.machines[h][i]))
			b.send(peer, segment(w.machines[h][place]))
		}
	}
	return b.wait(ctx)
}
