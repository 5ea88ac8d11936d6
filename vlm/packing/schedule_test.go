package packing

import (
	"errors"
	"slices"
	"testing"
)

var schedule = Schedule{Seed: 3, Shuffle: true, PoolSize: 40, RowLen: 32, MaxBatch: 2}

// lengthsOf returns the lengths of n samples, none longer than a row of schedule.
func lengthsOf(n int) []int {
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = 3 + i*7%13
	}
	return lengths
}

func TestPackPlacesEverySampleOnce(t *testing.T) {
	for _, shuffle := range []bool{true, false} {
		s, lengths := schedule, lengthsOf(40)
		s.Shuffle = shuffle
		var seen []int
		for _, batch := range s.Pack(0, 0, lengths) {
			for _, row := range batch {
				tokens := 0
				for _, i := range row {
					tokens += lengths[i]
				}
				if tokens > s.RowLen || len(row) == 0 {
					t.Errorf("shuffle %v: a row of %d tokens", shuffle, tokens)
				}
				seen = append(seen, row...)
			}
		}
		slices.Sort(seen)
		for i := range 40 {
			if len(seen) != 40 || seen[i] != i {
				t.Fatalf("shuffle %v: samples %v", shuffle, seen)
			}
		}
	}
}

func TestPoolsEpochsAndSeedsDiffer(t *testing.T) {
	lengths := lengthsOf(40)
	first := schedule.Pack(0, 0, lengths)
	other := schedule
	other.Seed++
	for name, got := range map[string][][][]int{
		"epoch": schedule.Pack(1, 0, lengths), "pool": schedule.Pack(0, 1, lengths), "seed": other.Pack(0, 0, lengths),
	} {
		if equal3(first, got) {
			t.Errorf("another %s gives the same batches", name)
		}
	}
	if !equal3(first, schedule.Pack(0, 0, lengths)) {
		t.Error("the same pool is packed in two ways")
	}
}

// Resuming from a checkpoint relies on the order, so it must never change.
func TestPermutationIsStable(t *testing.T) {
	if got, want := Permutation(8, 3, 2, 0), []int{2, 1, 5, 6, 4, 3, 7, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestScheduleCheck(t *testing.T) {
	var e *ModeError
	if err := (Schedule{}).Check(); !errors.As(err, &e) {
		t.Errorf("an empty schedule: %v", err)
	}
	if err := schedule.Check(); err != nil {
		t.Error(err)
	}
}
