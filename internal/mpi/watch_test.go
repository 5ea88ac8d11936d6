package mpi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"
)

// waitAll waits on every rank, except those that are silent, for the job to fail.
func waitAll(t *testing.T, worlds []*World, except int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i, w := range worlds {
		if i == except {
			continue
		}
		c := w.Channel(1)
		_, err := c.AllGather(ctx, nil)
		for err == nil { // all ranks were here before the failure
			_, err = c.AllGather(ctx, nil)
		}
		var failed *RankError
		if !errors.As(err, &failed) {
			t.Fatalf("rank %d: got %v, want a *RankError", i, err)
		}
	}
}

func TestFailureReachesAll(t *testing.T) {
	for _, failing := range []int{0, 2} {
		worlds := localWorlds(t, 4)
		worlds[failing].Fail(errors.New("the device is lost\nfor good"))
		waitAll(t, worlds, -1)
		for i, w := range worlds {
			var e *RankError
			if !errors.As(w.Err(), &e) || e.Rank != failing || e.Reason != "the device is lost; for good" || e.Local != (i == failing) {
				t.Errorf("rank %d knows of %+v, want the failure of rank %d", i, e, failing)
			}
			if w.Speaks() != (i == 0) {
				t.Errorf("rank %d: Speaks is %v", i, w.Speaks())
			}
			if w.Fail(errors.New("a second one")); w.Err() != error(e) {
				t.Errorf("rank %d: a second failure replaces the first: %v", i, w.Err())
			}
		}
	}
}

func TestSilentRank(t *testing.T) {
	for _, silent := range []int{0, 1} {
		worlds := localWorlds(t, 3)
		worlds[silent].transport.(*localTransport).dead.Store(true)
		for _, w := range worlds {
			w.SetTimeout(500 * time.Millisecond)
		}
		waitAll(t, worlds, silent)
		for i, w := range worlds {
			var e *RankError
			if i != silent && (!errors.As(w.Err(), &e) || e.Rank != silent || !e.Silent || !strings.Contains(e.Reason, "has not answered")) {
				t.Errorf("rank %d knows of %+v, want that rank %d is silent", i, e, silent)
			}
		}
		if !worlds[(silent+1)%2].Speaks() {
			t.Errorf("rank %d is silent, and nobody reports it", silent)
		}
	}
}

func TestNoProgress(t *testing.T) {
	for _, stuck := range []int{0, 1} {
		worlds := localWorlds(t, 3)
		for i, w := range worlds {
			w.SetTimeout(time.Second)
			for range 3 {
				w.Progress()
			}
			if i != stuck {
				defer w.Pause()() // as in a collective
			}
		}
		waitAll(t, worlds, -1)
		for i, w := range worlds {
			var e *RankError
			if !errors.As(w.Err(), &e) || e.Rank != stuck || !e.Stuck || !strings.Contains(e.Reason, "no progress") {
				t.Errorf("rank %d knows of %+v, want that rank %d hangs", i, e, stuck)
			}
		}
		if speaker := 1 - min(stuck, 1); !worlds[speaker].Speaks() || worlds[2].Speaks() {
			t.Errorf("rank %d hangs: want rank %d to report it", stuck, speaker)
		}
	}
}

// TestProgressIsNoFailure: a rank that makes progress, or is in a collective, does not fail.
func TestProgressIsNoFailure(t *testing.T) {
	worlds := localWorlds(t, 2)
	for _, w := range worlds {
		w.SetTimeout(time.Second)
		for range 3 {
			w.Progress()
		}
	}
	received := make(chan error)
	go func() {
		_, err := worlds[1].Channel(0).AllGather(t.Context(), nil)
		received <- err
	}()
	for range 25 {
		time.Sleep(100 * time.Millisecond)
		worlds[0].Progress()
	}
	_, err := worlds[0].Channel(0).AllGather(t.Context(), nil)
	require.NoError(t, errors.Join(err, <-received))
}

func TestLaunched(t *testing.T) {
	variables := []string{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}
	for _, c := range []struct {
		set  map[string]string
		size int
		ok   bool
	}{
		{nil, 0, false},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4"}, 4, true},
		{map[string]string{"PMI_SIZE": "2", "PMI_RANK": "0"}, 2, true},
		{map[string]string{"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "3"}, 8, true},
		{map[string]string{"SLURM_STEP_NUM_TASKS": "1"}, 0, false}, // srun -n1 without MPI
		{map[string]string{"SLURM_NTASKS": "8"}, 0, false},         // in a batch script, outside srun
		{map[string]string{"PMIX_RANK": "3"}, 0, true},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "x"}, 0, false},
	} {
		for _, v := range variables {
			t.Setenv(v, c.set[v])
		}
		if size, ok := Launched(); size != c.size || ok != c.ok {
			t.Errorf("%v: got %d, %v, want %d, %v", c.set, size, ok, c.size, c.ok)
		}
	}
}
