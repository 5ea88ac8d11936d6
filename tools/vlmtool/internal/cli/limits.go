package cli

import (
	"fmt"
	"math"
	"runtime"
	"strconv"

	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/train"
)

// Limit is the largest value of a flag, and why.
type Limit struct {
	Max int
	why string
}

// threadsPerCore bounds --threads. More threads than cores serve only tests of the order
// of sums; each takes a stack and is waited for at the end of every kernel.
const threadsPerCore = 16

// LimitOf is the largest value of an integer flag: that of the model, the hub or the
// machine, else 2³¹-1, so that sums and products of a few flags do not overflow.
func LimitOf(name string) Limit {
	switch name {
	case "threads":
		cores := runtime.NumCPU()
		return Limit{threadsPerCore * cores, fmt.Sprintf("%d for each of the %d cores", threadsPerCore, cores)}
	case "seq-len", "prompt-tokens", "new":
		return Limit{train.MaxSeqLen, "in tokens"}
	case "batch-size":
		return Limit{train.MaxBatchSize, "in rows; --accumulate makes larger steps"}
	case "accumulate":
		return Limit{train.MaxAccumulate, "in micro-batches"}
	case "pool-size":
		return Limit{train.MaxPoolSize, "in samples, which are kept in memory"}
	case "jobs":
		return Limit{64, "since the hub answers no faster"}
	}
	return Limit{math.MaxInt32, "the largest 32-bit integer"}
}

// checkLimit rejects an integer that is too large.
func checkLimit(f *pflag.Flag) error {
	if f.Value.Type() != "int" {
		return nil
	}
	n, err := strconv.Atoi(f.Value.String())
	if l := LimitOf(f.Name); err == nil && n > l.Max {
		return usage.Errorf("--%s cannot be %d; the maximum is %d, %s", f.Name, n, l.Max, l.why)
	}
	return nil
}
