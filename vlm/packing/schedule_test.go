package packing

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// samplesOf returns one sample for a row, but none for every seventh and two for every
// fifth.
func samplesOf(row int) ([]*Sample, error) {
	one := &Sample{Row: row, IDs: make([]int32, 3+row*7%13)}
	switch {
	case row%7 == 0:
		return nil, nil
	case row%5 == 0:
		return []*Sample{one, {Row: row, IDs: make([]int32, 2)}}, nil
	}
	return []*Sample{one}, nil
}

// epoch lists the data set's rows in each batch.
func epoch(t *testing.T, s Schedule, number, skip int) []string {
	t.Helper()
	var out []string
	for b, err := range s.Epoch(number, 60, skip, samplesOf) {
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, row := range b {
			text += "|"
			for _, sample := range row {
				text += fmt.Sprintf(" %d:%d", sample.Row, sample.Len())
			}
		}
		out = append(out, text)
	}
	return out
}

var schedule = Schedule{Seed: 3, Shuffle: true, PoolSize: 16, RowLen: 32, MaxBatch: 2}

func TestEpochResumes(t *testing.T) {
	whole := epoch(t, schedule, 1, 0)
	for skip := range len(whole) + 2 {
		if got := epoch(t, schedule, 1, skip); !slices.Equal(got, whole[min(skip, len(whole)):]) {
			t.Errorf("after %d batches:\n got %v\nwant %v", skip, got, whole[min(skip, len(whole)):])
		}
	}
}

func TestEpochsAndSeedsDiffer(t *testing.T) {
	first := epoch(t, schedule, 0, 0)
	other := schedule
	other.Seed++
	if slices.Equal(first, epoch(t, schedule, 1, 0)) || slices.Equal(first, epoch(t, other, 0, 0)) {
		t.Error("another epoch or seed gives the same batches")
	}
}

func TestEpochYieldsEverySampleOnce(t *testing.T) {
	for _, shuffle := range []bool{true, false} {
		s := schedule
		s.Shuffle = shuffle
		seen := map[int]int{}
		for b, err := range s.Epoch(0, 60, 0, samplesOf) {
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range b {
				for _, sample := range row {
					seen[sample.Row]++
				}
			}
		}
		for row := range 60 {
			samples, _ := samplesOf(row)
			if seen[row] != len(samples) {
				t.Errorf("shuffle %v: row %d occurs %d times, want %d", shuffle, row, seen[row], len(samples))
			}
		}
	}
}

// Resuming from a checkpoint relies on the order, so it must never change.
func TestOrderIsStable(t *testing.T) {
	if got, want := schedule.order(8, 2, 0), []int{2, 1, 5, 6, 4, 3, 7, 0}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestEpochErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, err := range schedule.Epoch(0, 3, 0, func(int) ([]*Sample, error) { return nil, broken }) {
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
	for _, err := range (Schedule{}).Epoch(0, 3, 0, samplesOf) {
		if err == nil {
			t.Error("an empty schedule is no error")
		}
	}
}
