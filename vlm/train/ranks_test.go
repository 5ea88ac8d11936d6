package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/mpi"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// onRanks runs options on n ranks in this process, and returns the result and the error of each.
// change, which may be nil, changes the options of a rank.
func onRanks(t *testing.T, n int, o Options, change func(rank int, o *Options)) ([]Result, []error) {
	t.Helper()
	worlds := []*mpi.World{nil}
	if n > 1 {
		worlds = require.Value(mpi.Local(t.Context(), n))(t)
	}
	results, errs := make([]Result, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		mine := o
		mine.World = worlds[i]
		if mine.Device == nil {
			mine.Device = cpu.Open(1)
		}
		if i > 0 {
			mine.Observe = Observer{}
		}
		if change != nil {
			change(i, &mine)
		}
		all.Go(func() { results[i], errs[i] = Run(t.Context(), mine) })
	}
	all.Wait()
	return results, errs
}

// trainRanks is onRanks of a run that must succeed.
func trainRanks(t *testing.T, n int, o Options) Result {
	t.Helper()
	results, errs := onRanks(t, n, o, nil)
	require.NoError(t, errors.Join(errs...))
	return results[0]
}

// closeLosses fails unless the losses of two runs agree to 1e-4: the order in which the gradients
// of rows are added differs, and the difference grows with the steps.
func closeLosses(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d steps, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-4*math.Abs(want[i]) {
			t.Fatalf("%s: the loss of step %d is %v, want %v", what, i+1, got[i], want[i])
		}
	}
}

// weightsOf is the model file of a finished run.
func weightsOf(t *testing.T, out string) string {
	t.Helper()
	return string(require.Value(os.ReadFile(filepath.Join(out, pretrained.WeightsFile)))(t))
}

// badRows returns the sorted lines of the list of bad rows.
func badRows(t *testing.T, out string) []string {
	t.Helper()
	text := require.Value(os.ReadFile(filepath.Join(out, data.BadRowsFile)))(t)
	return slices.Sorted(strings.Lines(string(text)))
}

// TestRanks: 1, 2 and 4 ranks with the same rows a step have the same losses, validations, counts
// of tokens and bad rows; a sharded optimizer changes no bit.
func TestRanks(t *testing.T) {
	file := vlmtest.MixedData(t, 150)
	steps := 50
	if testing.Short() {
		steps = 16
	}
	r := testRecipe(t, steps)
	r.SeqLen, r.ValEvery, r.MaxBadFraction = 160, steps/2, 1
	r.LR, r.EmbedderLR = 1e-4, 1e-4 // so that the losses stay far from 0
	run := func(ranks, batch, accumulate int, sharded bool) (string, Result) {
		out := filepath.Join(t.TempDir(), "run")
		r := r
		r.BatchSize, r.Accumulate = batch, accumulate
		return out, trainRanks(t, ranks, Options{Recipe: r, Data: data.Local(file), Out: out, ShardOptimizer: sharded})
	}
	one, want := run(1, 2, 2, false)
	weights := map[int]string{}
	for _, c := range []struct {
		ranks, batch, accumulate int
		sharded                  bool
	}{{2, 2, 1, false}, {2, 2, 1, true}, {2, 1, 2, false}, {4, 1, 1, false}, {4, 1, 1, true}} {
		what := fmt.Sprintf("%d ranks of %d×%d, sharded %v", c.ranks, c.accumulate, c.batch, c.sharded)
		out, got := run(c.ranks, c.batch, c.accumulate, c.sharded)
		closeLosses(t, what, losses(t, out), losses(t, one))
		if math.Abs(float64(got.ValLoss-want.ValLoss)) > 1e-4*float64(want.ValLoss) {
			t.Errorf("%s: the validation loss is %v, want %v", what, got.ValLoss, want.ValLoss)
		}
		if got.Tokens != want.Tokens || got.RowsSkipped != want.RowsSkipped || got.Ranks != c.ranks || want.RowsSkipped == 0 {
			t.Errorf("%s: %d tokens, %d rows skipped, %d ranks, want %d, %d, %d", what, got.Tokens, got.RowsSkipped, got.Ranks, want.Tokens, want.RowsSkipped, c.ranks)
		}
		if got, want := badRows(t, out), badRows(t, one); !slices.Equal(got, want) {
			t.Errorf("%s: bad rows\n%q, want\n%q", what, got, want)
		}
		if c.batch*c.ranks == 4 {
			if earlier, ok := weights[c.ranks]; ok && earlier != weightsOf(t, out) {
				t.Errorf("%s: the weights are not those without a sharded optimizer", what)
			}
			weights[c.ranks] = weightsOf(t, out)
		}
	}
}

// TestRanksResume: a run of 2 ranks is resumed with 1, 2 and 4, whose steps have as many rows.
func TestRanksResume(t *testing.T) {
	files := []string{vlmtest.Data(t, 60)}
	r := testRecipe(t, 12)
	r.SeqLen, r.BatchSize, r.Accumulate, r.ValEvery = 160, 2, 1, 6
	for _, c := range []struct {
		sharded   bool
		optimizer string
	}{{false, OptimizerAdamW}, {true, OptimizerAdamW}, {false, OptimizerAdamW8Bit}} {
		sharded := c.sharded
		o := Options{Recipe: r, Data: data.Local(files...), ShardOptimizer: sharded}
		o.Recipe.Optimizer = c.optimizer
		o.Out = filepath.Join(t.TempDir(), "whole")
		trainRanks(t, 2, o)
		want, weights := losses(t, o.Out), weightsOf(t, o.Out)

		o.Out = filepath.Join(t.TempDir(), "half")
		half := o
		half.Recipe.Steps = 12
		stopped := stopAfter(t, 2, half, 6)
		for _, c := range []struct {
			ranks, batch, accumulate int
		}{{2, 2, 1}, {1, 2, 2}, {4, 1, 1}} {
			out := filepath.Join(t.TempDir(), "resumed")
			require.NoError(t, os.CopyFS(out, os.DirFS(stopped)))
			o := o
			o.Out, o.Resume, o.Recipe.BatchSize, o.Recipe.Accumulate = out, true, c.batch, c.accumulate
			trainRanks(t, c.ranks, o)
			what := fmt.Sprintf("2 ranks of %s resumed with %d, sharded %v", o.Recipe.Optimizer, c.ranks, sharded)
			closeLosses(t, what, losses(t, out), want)
			if c.ranks == 2 {
				same(t, what, losses(t, out), want)
				if weightsOf(t, out) != weights {
					t.Errorf("%s: other weights than without interruption", what)
				}
			}
		}
		o.Resume = true
		_, errs := onRanks(t, 4, o, nil)
		var ranks *RanksError
		if !errors.As(errs[0], &ranks) || !strings.Contains(errs[0].Error(), "give --batch-size 1 --accumulate 1") {
			t.Errorf("4 ranks with twice the rows a step: %v", errs[0])
		}
	}
}

// stopAfter interrupts one rank of a run after a step; all ranks stop after the same one.
func stopAfter(t *testing.T, n int, o Options, step int) (out string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Observe.Step = func(m StepMetrics) {
		if m.Step == step {
			cancel()
		}
	}
	worlds := require.Value(mpi.Local(t.Context(), n))(t)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i, w := range worlds {
		mine, its := o, t.Context()
		mine.World, mine.Device = w, cpu.Open(1)
		if i > 0 {
			mine.Observe = Observer{}
		} else {
			its = ctx // only rank 0 gets the signal
		}
		all.Go(func() { _, errs[i] = Run(its, mine) })
	}
	all.Wait()
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("rank %d: %v, want context.Canceled", i, err)
		}
	}
	names := checkpoint.Names(filepath.Join(o.Out, "checkpoints"))
	if len(names) != 1 || checkpoint.Step(names[0]) != step {
		t.Fatalf("checkpoints %v, want one of step %d", names, step)
	}
	return o.Out
}

// TestRanksDiffer: ranks with other flags or data do not start, and all say which rank it is.
func TestRanksDiffer(t *testing.T) {
	files, others := data.Local(vlmtest.Data(t, 30)), data.Local(vlmtest.Data(t, 31))
	for want, change := range map[string]func(o *Options){
		"another --lr than rank 0":              func(o *Options) { o.Recipe.LR = 1 },
		"another --data than rank 0":            func(o *Options) { o.Data = others },
		"another --shard-optimizer than rank 0": func(o *Options) { o.ShardOptimizer = true },
		"another version of vlmtool":            func(o *Options) { o.Version = "2" },
		"no such file":                          func(o *Options) { o.Data = data.Local("missing.parquet") },
	} {
		out := filepath.Join(t.TempDir(), "run")
		_, errs := onRanks(t, 3, Options{Recipe: testRecipe(t, 4), Data: files, Out: out, Version: "1"}, func(rank int, o *Options) {
			if rank == 1 {
				change(o)
			}
		})
		for i, err := range errs {
			if err == nil || !strings.Contains(err.Error(), want) || i != 1 && !strings.Contains(err.Error(), "rank 1 (") {
				t.Errorf("rank %d: %v, want that rank 1 has %s", i, err, want)
			}
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a run that did not start left its folder", want)
		}
	}
}

func TestMoreRanksThanRows(t *testing.T) {
	r := testRecipe(t, 4)
	r.HoldOut = 0
	_, errs := onRanks(t, 3, Options{Recipe: r, Data: data.Local(vlmtest.Data(t, 2)), Out: filepath.Join(t.TempDir(), "run")}, nil)
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "2 rows to train on for 3 ranks") {
			t.Errorf("rank %d: %v", i, err)
		}
	}
}

// TestRanksOnDevices: on every device, with its own memory or the host's, in every type, with a
// decoder that is frozen at first, 2 ranks have the losses of 1, and a sharded optimizer changes
// no bit.
func TestRanksOnDevices(t *testing.T) {
	files := []string{vlmtest.Data(t, 30)}
	first, second := devices.Open(t), devices.Open(t)
	first = append(first, struct{ engine.Device }{cpu.Open(1)}) // without the host's memory
	second = append(second, struct{ engine.Device }{cpu.Open(1)})
	for i := range first {
		for _, dtype := range []string{"f32", "bf16", "f16"} {
			what := fmt.Sprintf("%s %d, %s", first[i].Info().Device, i, dtype)
			r := testRecipe(t, 6)
			r.SeqLen, r.FreezeDecoderSteps, r.DType = 160, 2, dtype
			run := func(ranks, batch int, sharded bool) string {
				r := r
				r.BatchSize = batch
				out := filepath.Join(t.TempDir(), "run")
				_, errs := onRanks(t, ranks, Options{Recipe: r, Data: data.Local(files...), Out: out, ShardOptimizer: sharded}, func(rank int, o *Options) {
					o.Device = [][]engine.Device{first, second}[rank][i]
				})
				if err := errors.Join(errs...); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				return out
			}
			two, sharded := run(2, 1, false), run(2, 1, true)
			same(t, what, losses(t, two), losses(t, sharded))
			if weightsOf(t, two) != weightsOf(t, sharded) {
				t.Errorf("%s: the weights are not those without a sharded optimizer", what)
			}
			if dtype == "f32" { // in 16 bits another order of sums moves some roundings
				closeLosses(t, what, losses(t, two), losses(t, run(1, 2, false)))
			}
		}
	}
}

// TestRankFails: a rank that loses its device ends the run of all, with a checkpoint of the last
// step where one rank has all of the state.
func TestRankFails(t *testing.T) {
	for _, sharded := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "run")
		r := testRecipe(t, 100)
		r.SeqLen, r.SaveEvery = 160, 3
		_, errs := onRanks(t, 3, Options{Recipe: r, Data: data.Local(vlmtest.Data(t, 60)), Out: out, ShardOptimizer: sharded}, func(rank int, o *Options) {
			if rank == 2 {
				o.Device = &failingDevice{Device: cpu.Open(1), program: "step", left: 30, fault: engine.ErrDeviceLost}
			}
		})
		for i, err := range errs {
			var stopped *StoppedError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), engine.ErrDeviceLost.Error()) || i != 2 && !strings.Contains(err.Error(), "rank 2 (") {
				t.Fatalf("rank %d: %v, want that rank 2 lost its device", i, err)
			}
			if i == 0 && (stopped.Checkpoint == "" || !sharded && checkpoint.Step(stopped.Checkpoint) != stopped.Step) {
				t.Errorf("stopped after step %d, the newest checkpoint is %q", stopped.Step, stopped.Checkpoint)
			}
		}
	}
}

// hangingDevice is a device on which a program never ends.
type hangingDevice struct {
	engine.Device
	left int // runs until then
	end  <-chan struct{}
}

type hangingProgram struct {
	engine.Executable
	device *hangingDevice
}

func (d *hangingDevice) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	e, err := d.Device.Compile(p, arena)
	return hangingProgram{e, d}, err
}

func (p hangingProgram) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	if p.device.left--; p.device.left < 0 {
		<-p.device.end
		return engine.ErrDeviceLost
	}
	return p.Executable.Run(ctx, step)
}

// TestRankHangs: a rank whose device hangs still sends heartbeats, but makes no progress; the
// others end.
func TestRankHangs(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r := testRecipe(t, 100_000)
	r.SeqLen = 160
	_, errs := onRanks(t, 2, Options{Recipe: r, Data: data.Local(vlmtest.Data(t, 30)), Out: filepath.Join(t.TempDir(), "run")}, func(rank int, o *Options) {
		o.World.SetTimeout(5 * time.Second)
		if rank == 0 {
			o.Device = &hangingDevice{cpu.Open(1), 40, ctx.Done()}
			return
		}
		w := o.World
		go func() {
			for w.Err() == nil && t.Context().Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			end() // so that rank 0 ends too
		}()
	})
	var hung *mpi.RankError
	if !errors.As(errs[1], &hung) || hung.Rank != 0 || !hung.Stuck || !strings.Contains(errs[1].Error(), "no progress") {
		t.Errorf("rank 1: %v, want that rank 0 hangs", errs[1])
	}
}

// TestRankTokens: metrics have the tokens a second of every rank.
func TestRankTokens(t *testing.T) {
	var steps []StepMetrics
	r := testRecipe(t, 3)
	trainRanks(t, 2, Options{Recipe: r, Data: data.Local(vlmtest.Data(t, 30)), Out: filepath.Join(t.TempDir(), "run"), Observe: Observer{Step: func(m StepMetrics) { steps = append(steps, m) }}})
	for _, m := range steps {
		if len(m.RankTokensPerS) != 2 || slices.Min(m.RankTokensPerS) <= 0 {
			t.Errorf("step %d: the ranks' tokens a second are %v", m.Step, m.RankTokensPerS)
		}
	}
}
