package train

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"patchwork/internal/mpi"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/train"
)

// join joins the job if mpirun or srun started this process. Rank 0 alone writes messages.
func (f *options) join(ctx context.Context, a *cli.App) error {
	_, launched := mpi.Launched()
	if launched && !mpi.FirstOnMachine() {
		a.Quiet = true
	}
	var err error
	if a.World, err = mpi.Join(ctx); err != nil {
		if !mpi.FirstOnMachine() { // the others there have the same error
			a.Stderr = io.Discard
		}
		return err
	}
	if a.World.Size() == 1 {
		return nil
	}
	a.World.SetTimeout(f.rankTimeout)
	if a.World.Rank() > 0 {
		cli.EndQuietly()
		a.Quiet = true
		slog.SetDefault(slog.New(slog.DiscardHandler))
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(a.World.Cores())
	}
	return nil
}

// checkRanks checks the flags for several processes.
func (f *options) checkRanks(r train.Recipe) error {
	if f.shardOptimizer && r.Optimizer == train.OptimizerAdamW8Bit {
		return usage.Errorf("--shard-optimizer cannot divide the 8-bit moments of --optimizer adamw8bit; leave one of them out")
	}
	if _, launched := mpi.Launched(); f.shardOptimizer && !launched {
		return usage.Errorf("--shard-optimizer divides the optimizer's moments among processes, and there is only this one; start vlmtool with mpirun or srun")
	}
	if f.rankTimeout < minRankTimeout {
		return usage.Errorf("--rank-timeout cannot be %v, want at least %v", f.rankTimeout, minRankTimeout)
	}
	return nil
}

// sharded reports whether the optimizer is sharded. Muon's work for a matrix does not depend on the
// batch, so that ranks which all did it would gain nothing there: they share it by default.
func (f *options) sharded(a *cli.App, r train.Recipe) bool {
	if a.Changed("shard-optimizer") || a.World.Size() == 1 {
		return f.shardOptimizer
	}
	return r.Optimizer == train.OptimizerMuon
}

// minRankTimeout is longer than a busy machine keeps a process waiting.
const minRankTimeout = 3 * time.Second
