package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/vlm/train"
)

// ceiling is the largest value of a flag, and why.
type ceiling struct {
	most int
	why  string
}

// threadsACore is how many threads on a core are still taken. More than one is for tests of
// the order of sums; each takes a stack and waits at every kernel's end.
const threadsACore = 16

// ceilingOf is a whole number's ceiling: what the model's, the hub's or the machine's nature
// sets, else what 32 bits count, so that sums and products of a few do not overflow.
func ceilingOf(name string) ceiling {
	switch name {
	case "threads":
		cores := runtime.NumCPU()
		return ceiling{threadsACore * cores, fmt.Sprintf("%d for each of the %d cores", threadsACore, cores)}
	case "seq-len", "prompt-tokens", "new":
		return ceiling{train.MaxSeqLen, "in tokens"}
	case "batch-size":
		return ceiling{train.MaxBatchSize, "in rows; --accumulate makes larger steps"}
	case "accumulate":
		return ceiling{train.MaxAccumulate, "in micro-batches"}
	case "pool-size":
		return ceiling{train.MaxPoolSize, "in samples, which are kept in memory"}
	case "jobs":
		return ceiling{64, "as the hub answers no faster"}
	}
	return ceiling{math.MaxInt32, "as more is not counted"}
}

// checkCeiling refuses a whole number that is too large.
func checkCeiling(f *pflag.Flag) error {
	if f.Value.Type() != "int" {
		return nil
	}
	n, err := strconv.Atoi(f.Value.String())
	if c := ceilingOf(f.Name); err == nil && n > c.most {
		return usagef("--%s cannot be %d; the most is %d, %s", f.Name, n, c.most, c.why)
	}
	return nil
}

// checkPool refuses samples that are packed together and would not fit in memory.
func checkPool(r train.Recipe) error {
	const perToken, perSample = 5, 256 // an id and a mark; the rest, as measured
	need, have := int64(r.PoolSize)*(int64(r.SeqLen)*perToken+perSample), engine.HostMemory()
	if have > 0 && need > have {
		return usagef("--pool-size %d at --seq-len %d may take %s, and this machine has %s; a smaller --pool-size fits", r.PoolSize, r.SeqLen, engine.Bytes(need), engine.Bytes(have))
	}
	return nil
}
