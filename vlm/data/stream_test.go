package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"
)

// grouped writes files of the given numbers of rows, in row groups of group rows, and opens them.
func grouped(t *testing.T, group int, rows ...int) *Dataset {
	t.Helper()
	var paths []string
	for f, n := range rows {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.parquet", f))
		w, err := Create(path)
		require.NoError(t, err)
		w.GroupRows = group
		for _, r := range numbered(fmt.Sprintf("%c", 'a'+f), n) {
			require.NoError(t, w.Write(r))
		}
		require.NoError(t, w.Close())
		paths = append(paths, path)
	}
	d := mustOpen(t, paths...)
	t.Cleanup(d.Close)
	return d
}

// allRowsBut returns all rows of a data set but every n-th.
func allRowsBut(d *Dataset, n int) *RowSet {
	var s RowSet
	held := HoldOut(n)
	for i := range d.Len() {
		if !held(i) {
			s.Add(i)
		}
	}
	return &s
}

// collect returns the numbers of a stream's rows, -1 for those of other readers.
func collect(t *testing.T, o *Order, from int, readers Readers) []int {
	t.Helper()
	var got []int
	for row, err := range o.Stream(t.Context(), from, readers) {
		require.NoError(t, err)
		if !row.Mine {
			got = append(got, -1)
			continue
		}
		want, err := o.d.Row(row.Number)
		require.NoError(t, err)
		if row.Index != want.Index || !slices.Equal(row.Turns, want.Turns) || len(row.Images) != 1 || string(row.Images[0]) != string(want.Images[0]) {
			t.Fatalf("row %d is %v, want %v", row.Number, row.Row, want)
		}
		got = append(got, row.Number)
	}
	return got
}

func TestStream(t *testing.T) {
	d := grouped(t, 7, 40, 33, 3)
	rows := allRowsBut(d, 5)
	for _, s := range []Shuffle{{}, {Seed: 1, Buffer: 20}, {Seed: 1, Buffer: 20, Bytes: 2000}, {Seed: 1, Buffer: AllRows}} {
		o := d.Order(rows, s, 3)
		whole := collect(t, o, 0, Readers{})
		if got := slices.Sorted(slices.Values(whole)); !slices.Equal(got, slices.Collect(rows.All())) {
			t.Fatalf("%+v: rows %v", s, got)
		}
		if slices.IsSorted(whole) != (s.Buffer == 0) {
			t.Errorf("%+v: order %v", s, whole)
		}
		if planned := slices.Collect(o.From(0)); !slices.Equal(planned, whole) {
			t.Errorf("%+v: planned %v, read %v", s, planned, whole)
		}
		for from := 0; from <= len(whole); from += 9 {
			if got := collect(t, o, from, Readers{}); !slices.Equal(got, whole[from:]) {
				t.Errorf("%+v, from %d: %v, want %v", s, from, got, whole[from:])
			}
		}
		for _, count := range []int{2, 3} {
			together := slices.Repeat([]int{-1}, len(whole))
			groups := map[int]int{} // reader by row group
			for number := range count {
				for i, row := range collect(t, o, 0, Readers{number, count}) {
					if row < 0 {
						continue
					}
					if other, found := groups[d.RowGroup(row)]; found && other != number {
						t.Fatalf("%+v: readers %d and %d both read row group %d", s, other, number, d.RowGroup(row))
					}
					together[i], groups[d.RowGroup(row)] = row, number
				}
			}
			if !slices.Equal(together, whole) {
				t.Errorf("%+v: %d readers read %v, want %v", s, count, together, whole)
			}
		}
	}
}

func TestOrdersDiffer(t *testing.T) {
	d := grouped(t, 7, 40)
	rows := allRowsBut(d, 0)
	order := func(s Shuffle, epoch int) []int { return slices.Collect(d.Order(rows, s, epoch).From(0)) }
	first := order(Shuffle{Seed: 1, Buffer: 12}, 0)
	for name, other := range map[string][]int{
		"epoch": order(Shuffle{Seed: 1, Buffer: 12}, 1), "seed": order(Shuffle{Seed: 2, Buffer: 12}, 0), "buffer": order(Shuffle{Seed: 1, Buffer: 25}, 0),
	} {
		if slices.Equal(first, other) {
			t.Errorf("another %s gives the same order", name)
		}
	}
	// Runs are resumed in this order, so it must never change.
	want := []int{9, 10, 16, 12, 17, 19, 18, 13, 11, 14, 7, 20, 8, 15, 24, 21, 26, 23, 22, 25, 27, 6, 3, 5, 4, 36, 35, 0, 38, 39, 1, 2, 37, 33, 31, 34, 29, 28, 32, 30}
	if !slices.Equal(first, want) {
		t.Errorf("order %v, want %v", first, want)
	}
}

// TestWindows: every window holds about as many rows as the buffer, whatever the row groups are.
func TestWindows(t *testing.T) {
	for _, group := range []int{1, 7, 64, 1000} {
		d := grouped(t, group, 1000, 500)
		o := d.Order(allRowsBut(d, 0), Shuffle{Seed: 1, Buffer: 200}, 0)
		for _, w := range o.windows {
			if w.rows > 200+group || len(o.windows) > 1 && w.rows < 180-2*group {
				t.Errorf("row groups of %d: a window of %d rows", group, w.rows)
			}
		}
		m := o.Mixing()
		if least := min(200, d.Len()) / 8; group < 100 && m.Median < least || m.Windows != len(o.windows) {
			t.Errorf("row groups of %d: %+v, want a median of %d or more", group, m, least)
		}
	}
}

// TestStreamMemory: no more than a window and a row group is read before rows are taken.
func TestStreamMemory(t *testing.T) {
	d := grouped(t, 10, 400)
	o := d.Order(allRowsBut(d, 0), Shuffle{Seed: 1, Buffer: 50}, 0)
	s := &stream{o: o, groups: map[int]*streamedGroup{}}
	ahead, _ := s.plan()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { s.read(ctx, ahead); close(done) }()
	for range 5 {
		<-ahead[0].ready
		time.Sleep(20 * time.Millisecond)
	}
	read := 0
	for _, g := range ahead {
		select {
		case <-g.ready:
			read++
		default:
		}
	}
	cancel()
	<-done
	if read < 5 || read > 7 {
		t.Errorf("%d row groups of a fifth of the buffer were read ahead", read)
	}
}

func TestStreamErrors(t *testing.T) {
	before := runtime.NumGoroutine()
	d := grouped(t, 7, 40)
	o := d.Order(allRowsBut(d, 0), Shuffle{Seed: 1, Buffer: 12}, 0)
	for range o.Stream(t.Context(), 0, Readers{}) {
		break // ends the readers
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range o.Stream(ctx, 0, Readers{}) {
		if n++; n == 3 {
			cancel()
		}
		if n > 3 && !errors.Is(err, context.Canceled) {
			t.Errorf("after the context ended: %v", err)
		}
	}
	d.Close()
	for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
		time.Sleep(time.Millisecond)
	}
	if got := runtime.NumGoroutine(); got > before {
		t.Errorf("%d goroutines, %d before", got, before)
	}

	// A file that is written to while it is open ends the stream.
	path := grouped(t, 7, 40).Files()[0]
	d = mustOpen(t, path)
	defer d.Close()
	n = 0
	for _, err := range d.Order(allRowsBut(d, 0), Shuffle{}, 0).Stream(t.Context(), 0, Readers{}) {
		if n++; n == 1 {
			require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)))
		}
		if err != nil && !errors.Is(err, errChanged) || err == nil && n > 30 {
			t.Fatalf("a file that is written to: %v", err)
		}
	}

	// So does one that is replaced, also when the rows' numbers are the same.
	write(t, o.d.Files()[0], numbered("other", 40)...)
	var e *DataError
	for _, err := range o.Stream(t.Context(), 0, Readers{}) {
		if !errors.As(err, &e) || e.Err == nil || !strings.Contains(err.Error(), "changed") {
			t.Errorf("a changed file: %v", err)
		}
	}
}
