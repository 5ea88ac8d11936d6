package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// rowsTo returns rows 0 to n-1.
func rowsTo(n int) *data.RowSet {
	var s data.RowSet
	for i := range n {
		s.Add(i)
	}
	return &s
}

// loaderOf makes a loader of a file for one of several ranks.
func loaderOf(t testing.TB, file string, c Config, part Part) *Loader {
	t.Helper()
	d, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	p, err := pretrained.PresetProcessor("shapes", c.Vision.Patches())
	require.NoError(t, err)
	c.Part = part
	return New(d, rowsTo(d.Len()), p, c, data.NewRowStats(nil))
}

func testConfig() Config {
	return Config{
		BatchSize: 4, Accumulate: 1, SeqLen: 200, PoolSize: 25, MaxBadFraction: 1, Shuffle: data.Shuffle{Seed: 1, Buffer: 40},
		Modes:  packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAnswers},
		Vision: vlm.VisionConfig{ImageSize: 64, PatchSize: 8, NumChannels: 3, MaxGrid: 8},
	}
}

// describe returns the samples and images of a step, a line for each packed row.
func describe(s *Step) []string {
	var lines []string
	for _, b := range s.Batches {
		for i := range b.Rows {
			line := ""
			if i < len(b.Samples) {
				for _, sample := range b.Samples[i] {
					line += fmt.Sprintf(" %d:%d", sample.Row, sample.Len())
				}
			}
			for _, id := range b.IDs[i*b.T : (i+1)*b.T] {
				line += string(rune('a' + id%26))
			}
			if line != strings.Repeat("a", b.T) { // padding
				lines = append(lines, line)
			}
		}
		sum := 0
		for _, p := range b.Pixels {
			sum += int(p)
		}
		lines = append(lines, fmt.Sprint("pixels ", sum))
	}
	return lines
}

// packedRows leaves out what depends on the micro-batches.
func packedRows(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return strings.HasPrefix(s, "pixels") })
}

// steps returns the description of every step of an epoch from a cursor on.
func (l *Loader) describeEpoch(t *testing.T, epoch, skip int) (steps [][]string, next []Cursor) {
	t.Helper()
	require.NoError(t, l.Epoch(t.Context(), epoch, skip, func(s *Step) bool {
		steps, next = append(steps, describe(s)), append(next, s.Next)
		return true
	}))
	return steps, next
}

// localExchange connects loaders in goroutines.
type localExchange struct {
	mu      sync.Mutex
	changed *sync.Cond
	ranks   int
	round   []int
	sent    map[int][][][]byte // by round: sent[round][from][to]
}

func newExchange(ranks int) *localExchange {
	e := &localExchange{ranks: ranks, round: make([]int, ranks), sent: map[int][][][]byte{}}
	e.changed = sync.NewCond(&e.mu)
	return e
}

type exchangeEnd struct {
	*localExchange
	rank int
}

func (e exchangeEnd) AllGather(ctx context.Context, mine []byte) ([][]byte, error) {
	return e.AllToAll(ctx, slices.Repeat([][]byte{mine}, e.ranks))
}

func (e exchangeEnd) AllToAll(_ context.Context, to [][]byte) ([][]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	round := e.round[e.rank]
	e.round[e.rank]++
	if e.sent[round] == nil {
		e.sent[round] = make([][][]byte, e.ranks)
	}
	e.sent[round][e.rank] = to
	e.changed.Broadcast()
	for slices.ContainsFunc(e.sent[round], func(m [][]byte) bool { return m == nil }) {
		e.changed.Wait()
	}
	var got [][]byte
	for _, m := range e.sent[round] {
		got = append(got, m[e.rank])
	}
	return got, nil
}

// TestOrderOfSteps: a step has the same packed rows however it is divided into micro-batches and
// among ranks, also when it is resumed.
func TestOrderOfSteps(t *testing.T) {
	file := vlmtest.MixedData(t, 200)
	for _, turns := range []packing.Turns{packing.InConversation, packing.SharedPrefix} {
		r := testConfig()
		r.Modes.Turns = turns
		whole := loaderOf(t, file, r, Part{})
		want, cursors := whole.describeEpoch(t, 1, 0)
		if len(want) < 5 {
			t.Fatalf("%d steps are too few", len(want))
		}
		for _, c := range []struct{ ranks, batch, accumulate int }{{1, 1, 4}, {1, 2, 2}, {2, 2, 1}, {2, 1, 2}, {4, 1, 1}} {
			for _, from := range []int{0, 3} {
				r.BatchSize, r.Accumulate = c.batch, c.accumulate
				skip := 0
				if from > 0 {
					skip = cursors[from-1].Row
				}
				exchange := newExchange(c.ranks)
				parts := make([][][]string, c.ranks)
				stats := make([]string, c.ranks)
				var group sync.WaitGroup
				for rank := range c.ranks {
					l := loaderOf(t, file, r, Part{rank, c.ranks, exchangeEnd{exchange, rank}})
					group.Go(func() {
						parts[rank], _ = l.describeEpoch(t, 1, skip)
						stats[rank] = l.stats.String()
					})
				}
				group.Wait()
				for i, step := range want[from:] {
					var got []string
					for rank := range c.ranks {
						if len(parts[rank]) != len(want)-from {
							t.Fatalf("%+v: %d steps, want %d", c, len(parts[rank]), len(want)-from)
						}
						got = append(got, packedRows(parts[rank][i])...)
					}
					if !slices.Equal(got, packedRows(step)) {
						t.Fatalf("%s, %+v, step %d:\n got %q\nwant %q", turns, c, from+i, got, packedRows(step))
					}
				}
				if from == 0 && stats[0] != whole.stats.String() && c.ranks == 1 {
					t.Errorf("%+v: %s, want %s", c, stats[0], whole.stats)
				}
			}
		}
	}
}

// TestResumedSteps: with and without an index of lengths, an epoch continues after any step, and
// the index is enough to count its steps.
func TestResumedSteps(t *testing.T) {
	file, r := vlmtest.MixedData(t, 150), testConfig()
	whole := loaderOf(t, file, r, Part{})
	whole.Index = data.OpenIndex(whole.dataset, "key")
	if _, exact, err := whole.CountSteps(t.Context(), 2); exact || err != nil {
		t.Errorf("steps are counted without lengths: %v, %v", exact, err)
	}
	want, cursors := whole.describeEpoch(t, 2, 0)
	if n, exact, err := whole.CountSteps(t.Context(), 2); n != len(want) || !exact || err != nil {
		t.Errorf("%d steps are counted, exactly: %v, %v; want %d", n, exact, err, len(want))
	}
	for i, c := range cursors {
		for _, indexed := range []bool{false, true} {
			l := loaderOf(t, file, r, Part{})
			if indexed {
				l.Index = data.OpenIndex(l.dataset, "key")
			}
			got, _ := l.describeEpoch(t, 2, c.Row)
			if !slices.EqualFunc(got, want[i+1:], slices.Equal[[]string]) {
				t.Fatalf("after step %d, indexed %v:\n got %q\nwant %q", i, indexed, got, want[i+1:])
			}
		}
	}
}

// TestEpochsEnd: a run of epochs ends with its last step, and is read evenly.
func TestEpochsEnd(t *testing.T) {
	r := testConfig()
	r.Epochs = 2
	l := loaderOf(t, vlmtest.MixedData(t, 150), r, Part{})
	steps, last := 0, 0
	progress := 0.0
	for loaded := range l.Steps(t.Context(), Cursor{}) {
		require.NoError(t, loaded.Err)
		steps++
		if loaded.Step.Last {
			last = steps
		}
		if p := loaded.Step.Progress; p <= progress || p > 2 {
			t.Errorf("after step %d %v of 2 epochs are read, after the one before %v", steps, p, progress)
		}
		progress = loaded.Step.Progress
	}
	if last != steps || progress != 2 {
		t.Errorf("step %d of %d is the last one, %v of 2 epochs are read", last, steps, progress)
	}
}

// TestStepsStop: the loader ends with its context, and a file that vanishes ends it with an error.
func TestStepsStop(t *testing.T) {
	file := vlmtest.MixedData(t, 150)
	l := loaderOf(t, file, testConfig(), Part{})
	ctx, cancel := context.WithCancel(t.Context())
	steps := l.Steps(ctx, Cursor{})
	<-steps
	cancel()
	for range steps { // must be closed
	}
	l = loaderOf(t, file, testConfig(), Part{})
	require.NoError(t, os.Remove(file))
	var failed error
	for loaded := range l.Steps(t.Context(), Cursor{}) {
		failed = loaded.Err
	}
	if !errors.Is(failed, os.ErrNotExist) || strings.Contains(failed.Error(), "\n") {
		t.Errorf("a file that vanished: %v", failed)
	}
}
