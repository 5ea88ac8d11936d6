package mpi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"patchwork/internal/require"
)

// localWorlds are the worlds of n ranks in this process.
func localWorlds(t *testing.T, n int) []*World {
	return require.Value(Local(t.Context(), n))(t)
}

// eachRank calls f for every rank at the same time.
func eachRank(n int, f func(rank int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// message is what rank from sends to rank to in a test: of every length around those at which a
// message is divided.
func message(from, to int) []byte {
	lengths := []int{0, 1, frameBytes - frameHeader - 1, frameBytes - frameHeader, frameBytes - frameHeader + 1, 5000, 9999, 100_000}
	n := lengths[(3*from+to)%len(lengths)]
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + from*31 + to)
	}
	return b
}

// checkCollectives runs every collective on a channel and returns the first wrong result. It is
// used with goroutines and with real processes.
func checkCollectives(ctx context.Context, c *Channel) error {
	rank, size := c.Rank(), c.Size()
	to := make([][]byte, size)
	for i := range to {
		to[i] = message(rank, i)
	}
	got, err := c.AllToAll(ctx, to)
	if err != nil {
		return err
	}
	for i, b := range got {
		if !bytes.Equal(b, message(i, rank)) {
			return fmt.Errorf("AllToAll on rank %d: %d bytes from rank %d, want %d", rank, len(b), i, len(message(i, rank)))
		}
	}
	if got, err = c.AllGather(ctx, message(rank, 0)); err != nil {
		return err
	}
	for i, b := range got {
		if !bytes.Equal(b, message(i, 0)) {
			return fmt.Errorf("AllGather on rank %d: wrong bytes from rank %d", rank, i)
		}
	}
	for root := range size {
		b, err := c.Broadcast(ctx, root, message(rank, 1))
		if err != nil {
			return err
		}
		if !bytes.Equal(b, message(root, 1)) {
			return fmt.Errorf("Broadcast on rank %d: wrong bytes from rank %d", rank, root)
		}
		all, err := c.Gather(ctx, root, message(rank, 2))
		if err != nil {
			return err
		}
		for i, b := range all {
			if !bytes.Equal(b, message(i, 2)) {
				return fmt.Errorf("Gather on rank %d: wrong bytes from rank %d", rank, i)
			}
		}
	}
	for _, n := range []int{0, 1, 2, 7, sumBlock, 3*sumBlock + 5} {
		if err := checkSum(ctx, c, n); err != nil {
			return err
		}
	}
	return nil
}

// values are a rank's contribution to a sum, of very different sizes, so that the order in which
// they are added shows in the last bits.
func values(rank, n int) []float32 {
	random := rand.New(rand.NewPCG(uint64(rank), uint64(n)))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64() * math.Pow(10, random.Float64()*6))
	}
	return x
}

// sumOfValues adds them in the order of ranks, or those of each machine and then the machines'.
func sumOfValues(c *Channel, n int) []float32 {
	all := make([]int, c.Size())
	for i := range all {
		all[i] = i
	}
	machines := [][]int{all}
	if c != nil && c.world.machines != nil {
		machines = c.world.machines
	}
	var want []float32
	for _, ranks := range machines {
		one := values(ranks[0], n)
		for _, r := range ranks[1:] {
			for i, v := range values(r, n) {
				one[i] += v
			}
		}
		if want == nil {
			want = one
			continue
		}
		for i, v := range one {
			want[i] += v
		}
	}
	return want
}

func checkSum(ctx context.Context, c *Channel, n int) error {
	want := sumOfValues(c, n)
	got := values(c.Rank(), n)
	if err := c.SumFloat32(ctx, got); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("SumFloat32 of %d elements on rank %d of %d differs from the sum in the order of ranks", n, c.Rank(), c.Size())
	}
	// Uneven parts, one of them empty.
	bounds := make([]int, c.Size()+1)
	for i := range bounds {
		bounds[i] = n * i * i / (c.Size() * c.Size())
	}
	own := values(c.Rank(), n)
	got = slices.Clone(own)
	if err := c.ReduceScatter(ctx, got, bounds); err != nil {
		return err
	}
	lo, hi := bounds[c.Rank()], bounds[c.Rank()+1]
	if !slices.Equal(got[lo:hi], want[lo:hi]) || !slices.Equal(got[:lo], own[:lo]) || !slices.Equal(got[hi:], own[hi:]) {
		return fmt.Errorf("ReduceScatter of %d elements on rank %d of %d: wrong elements", n, c.Rank(), c.Size())
	}
	if err := c.AllGatherFloat32(ctx, got, bounds); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("AllGatherFloat32 of %d elements on rank %d of %d: wrong elements", n, c.Rank(), c.Size())
	}
	root := c.Size() - 1
	got = slices.Clone(own)
	if err := c.ScatterGatherFloat32(ctx, root, got); err != nil {
		return err
	}
	if !slices.Equal(got, values(root, n)) {
		return fmt.Errorf("ScatterGatherFloat32 of %d elements on rank %d of %d: wrong elements", n, c.Rank(), c.Size())
	}
	return nil
}

func TestCollectives(t *testing.T) {
	defer func(n int) { maxMessage = n }(maxMessage)
	for _, maxMessage = range []int{5000, 64 << 20} {
		for _, n := range []int{2, 3, 5} {
			worlds := localWorlds(t, n)
			eachRank(n, func(i int) {
				if err := checkCollectives(t.Context(), worlds[i].Channel(0)); err != nil {
					t.Errorf("%d ranks, messages of %d bytes: %v", n, maxMessage, err)
				}
			})
		}
	}
}

// TestHosts: with several ranks on each of several machines, sums are made in two stages, also
// where the ranks of a machine are not consecutive; otherwise in one.
func TestHosts(t *testing.T) {
	for _, c := range []struct {
		machines string // by rank
		two      bool
	}{{"aabb", true}, {"abab", true}, {"aabbcc", true}, {"aaabbb", true}, {"aab", false}, {"abc", false}, {"aa", false}} {
		n := len(c.machines)
		worlds := localWorlds(t, n)
		for _, w := range worlds {
			for rank := range w.peers {
				w.peers[rank].Machine = c.machines[rank : rank+1]
			}
			if w.machines = w.layout(); (w.machines != nil) != c.two {
				t.Fatalf("ranks on machines %s: the layout is %v", c.machines, w.machines)
			}
		}
		eachRank(n, func(i int) {
			if err := checkCollectives(t.Context(), worlds[i].Channel(0)); err != nil {
				t.Errorf("ranks on machines %s: %v", c.machines, err)
			}
		})
	}
}

func TestWorldOfOne(t *testing.T) {
	var w *World
	if w.Rank() != 0 || w.Size() != 1 || w.LocalRank() != 0 || w.LocalSize() != 1 || w.Host(0) == "" || w.Cores() < 1 || !w.Speaks() || w.Err() != nil {
		t.Error("a nil World is not a world of one")
	}
	if err := checkCollectives(t.Context(), w.Channel(0)); err != nil {
		t.Error(err)
	}
	w.Progress()
	w.Pause()()
	w.SetTimeout(time.Second)
	w.Close(0)
	if w.Fail(errors.New("x")); w.Err() != nil {
		t.Error("a world of one has failed")
	}
}

// TestChannelsAreIndependent: the ranks use two channels in different orders.
func TestChannelsAreIndependent(t *testing.T) {
	worlds := localWorlds(t, 2)
	eachRank(2, func(i int) {
		eachRank(2, func(n int) {
			for range 20 {
				if _, err := worlds[i].Channel(n).AllGather(t.Context(), make([]byte, 5000*n)); err != nil {
					t.Error(err)
				}
			}
		})
	})
}

// TestCancelled: a rank that waits for another one returns when its context ends, and the channel
// is of no use then.
func TestCancelled(t *testing.T) {
	worlds := localWorlds(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := worlds[0].Channel(0)
	if err := c.SumFloat32(ctx, make([]float32, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := c.AllGather(t.Context(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a later call: got %v, want the first error", err)
	}
}

func TestOutOfStep(t *testing.T) {
	worlds := localWorlds(t, 2)
	eachRank(2, func(i int) {
		err := worlds[i].Channel(0).SumFloat32(t.Context(), make([]float32, 10+10*i))
		if i == 1 && !errors.Is(err, errOutOfStep) {
			t.Errorf("sums of different lengths: got %v, want %v", err, errOutOfStep)
		}
		worlds[i].Fail(err)
	})
}

// TestAgree: if a rank has an error, all return one, and the job has not failed.
func TestAgree(t *testing.T) {
	worlds := localWorlds(t, 3)
	wrong := errors.New("no such file")
	eachRank(3, func(i int) {
		w, c := worlds[i], worlds[i].Channel(0)
		if err := c.Agree(t.Context(), nil); err != nil {
			t.Errorf("rank %d: %v, but no rank has an error", i, err)
		}
		mine := wrong
		if i != 1 {
			mine = nil
		}
		err := c.Agree(t.Context(), mine)
		if i == 1 && err != wrong || i != 1 && (err == nil || err.Error() != "rank 1 ("+w.Host(1)+"): no such file") {
			t.Errorf("rank %d: got %v", i, err)
		}
		if w.Fail(fmt.Errorf("stopped: %w", err)); w.Err() != nil {
			t.Errorf("rank %d: the error that all agreed on has failed the job", i)
		}
	})
}

func TestBadArguments(t *testing.T) {
	c := localWorlds(t, 2)[0].Channel(0)
	if _, err := c.AllToAll(t.Context(), make([][]byte, 3)); err == nil {
		t.Error("messages for 3 of 2 ranks: no error")
	}
	if _, err := c.Broadcast(t.Context(), 2, nil); err == nil {
		t.Error("a broadcast from rank 2 of 2: no error")
	}
	for _, bounds := range [][]int{{0, 10}, {0, 6, 5}, {0, 5, 11}, {-1, 5, 10}} {
		if err := c.ReduceScatter(t.Context(), make([]float32, 10), bounds); err == nil {
			t.Errorf("bounds %v of 10 elements: no error", bounds)
		}
	}
}
