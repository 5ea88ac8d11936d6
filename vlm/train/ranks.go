package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"patchwork/internal/mpi"
	"patchwork/nn"
	"patchwork/vlm/data"
	"patchwork/vlm/loader"
)

// Channels of the world, one for each goroutine that uses it.
const (
	stepChannel       = 0
	loaderChannel     = 1
	gradientChannel   = 2
	validationChannel = 3
)

// leads reports whether this is the rank that sets the initial weights and answers questions.
func (t *trainer) leads() bool { return t.World.Rank() == 0 }

// writes reports whether this rank writes the files of the run.
func (t *trainer) writes() bool { return t.leads() && t.Out != "" }

// agree returns an error on all ranks if it is one on any.
func (t *trainer) agree(ctx context.Context, err error) error { return t.job.Agree(ctx, err) }

// part is this rank's part of the work of the loader that uses a channel.
func (t *trainer) part(channel int) loader.Part {
	if t.World.Size() == 1 {
		return loader.Part{}
	}
	return loader.Part{Rank: t.World.Rank(), Ranks: t.World.Size(), Exchange: t.World.Channel(channel)}
}

// runStart is what rank 0 finds in the run's folder.
type runStart struct {
	Finished, Extended, Resumed bool
	State                       trainerState
}

// agreeRun gives all ranks what rank 0 has found in the run's folder.
func (t *trainer) agreeRun(ctx context.Context, extended *bool) error {
	if t.World.Size() == 1 {
		return nil
	}
	mine, err := json.Marshal(runStart{t.finished, *extended, t.restored.Dir != "", t.restored.State})
	if err != nil {
		return err
	}
	text, err := t.job.Broadcast(ctx, 0, mine)
	if err != nil || t.leads() {
		return err
	}
	var first runStart
	if err := json.Unmarshal(text, &first); err != nil {
		return err
	}
	t.finished, *extended, t.restored.State = first.Finished, first.Extended, first.State
	if first.Resumed {
		t.restored.Dir = t.Out // only rank 0 reads it
	}
	return nil
}

// rankStart is what has to be the same on all ranks.
type rankStart struct {
	Run            runFile
	ShardOptimizer bool
	Steps          int
	StepsExact     bool
}

// agreeStart compares the settings and the data of all ranks, and gives them rank 0's number of
// steps.
func (t *trainer) agreeStart(ctx context.Context) error {
	if t.World.Size() == 1 {
		return nil
	}
	mine := rankStart{t.describeRun(), t.ShardOptimizer, t.steps, t.stepsExact}
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	all, err := t.job.AllGather(ctx, text)
	if err != nil {
		return err
	}
	var first rankStart
	for rank := range all {
		var other rankStart
		if err := json.Unmarshal(all[rank], &other); err != nil {
			return err
		}
		if rank == 0 {
			first = other
			continue
		}
		names, err := first.differences(other)
		if err != nil {
			return err
		}
		if len(names) > 0 { // found by all ranks
			return t.agree(ctx, fmt.Errorf("rank %d (%s) was started with another %s than rank 0 (%s): start all ranks with the same flags, data and vlmtool",
				rank, t.World.Host(rank), strings.Join(names, ", "), t.World.Host(0)))
		}
	}
	t.steps, t.stepsExact = first.Steps, first.StepsExact
	return nil
}

// differences names what differs between two ranks.
func (a rankStart) differences(b rankStart) ([]string, error) {
	names, err := RecipeDiff(a.Run.Recipe, b.Run.Recipe)
	if err != nil {
		return nil, err
	}
	for i := range names {
		names[i] = "--" + names[i]
	}
	for _, d := range []struct {
		name string
		is   bool
	}{
		{"--data", a.Run.Data.Fingerprint != b.Run.Data.Fingerprint},
		{"--val-data", fingerprint(a.Run.ValData) != fingerprint(b.Run.ValData)},
		{"--model", a.Run.Model != b.Run.Model},
		{"--decoder", decoderFingerprint(a.Run.Decoder) != decoderFingerprint(b.Run.Decoder)},
		{"--recompute", a.Run.Recipe.Recompute != b.Run.Recipe.Recompute},
		{"--shard-optimizer", a.ShardOptimizer != b.ShardOptimizer},
		{"version of vlmtool", a.Run.Version != b.Run.Version},
		{"kind of device", a.Run.Device.Kind != b.Run.Device.Kind},
	} {
		if d.is {
			names = append(names, d.name)
		}
	}
	return names, nil
}

func fingerprint(d *runData) string {
	if d == nil {
		return ""
	}
	return d.Fingerprint
}

func decoderFingerprint(d *runDecoder) string {
	if d == nil {
		return ""
	}
	return d.Fingerprint
}

// checkRanks returns an error if there are more ranks than rows.
func (t *trainer) checkRanks() error {
	if rows, ranks := t.train.Rows().Len(), t.World.Size(); rows < ranks {
		return fmt.Errorf("%s: %d rows to train on for %d ranks; start at most as many ranks as there are rows", t.Data[0].Name(), rows, ranks)
	}
	return nil
}

// divideGradients divides the gradients, and with --shard-optimizer the moments, among the ranks. It is called before the model is allocated.
func (t *trainer) divideGradients() ([]nn.Chunk, error) {
	if t.World.Size() == 1 {
		return nil, nil
	}
	p := t.model.Params
	if err := p.Shard(t.Device.Info()); err != nil {
		return nil, err
	}
	chunks := p.Chunks(chunkBytes(p.Grads.Bytes), t.World.Size())
	if t.ShardOptimizer && t.Recipe.Optimizer == OptimizerAdamW8Bit {
		return nil, errors.New("--shard-optimizer cannot divide the 8-bit moments of --optimizer adamw8bit; leave one of them out")
	}
	if t.ShardOptimizer {
		p.ShardMoments(chunks, t.World.Rank())
	}
	return chunks, nil
}

// agreeWeights gives all ranks the weights and moments of rank 0.
func (t *trainer) agreeWeights(ctx context.Context) error {
	r := t.trainStep.reducer
	if r == nil {
		return nil
	}
	planned, _, err := t.trainStep.plan(programFirst)
	if err != nil {
		return err
	}
	if err := r.agreeOrder(ctx, planned); err != nil {
		return err
	}
	if err := r.spread(ctx, t.model.Params.Weights); err != nil {
		return err
	}
	if t.model.Params.WeightsWritten(); t.restored.Dir == "" {
		return nil
	}
	if t.ShardOptimizer {
		return t.scatterMoments(ctx)
	}
	for _, b := range t.model.Params.Moments() {
		if err := r.spread(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// stepNews is what a rank tells the others before a step.
type stepNews struct {
	Targets           int64
	Found             int64 // bad rows that the others do not know of
	Over, Stop, Wrong bool  // the epochs are over, the run is interrupted, there is an error
}

// stepSum is what a rank tells the others after its backward pass.
type stepSum struct {
	Loss                  float64 // summed over the targets, in nats
	Squares               float64 // the sum of the squares of its segments of the gradients
	Tokens, Images, Clips int64
	Seconds               float64 // of its own forward and backward passes
}

// allGather returns a value of every rank, by rank. T has only fields of fixed size.
func allGather[T any](c *mpi.Channel, mine T) ([]T, error) {
	message, err := binary.Append(nil, binary.LittleEndian, mine)
	if err != nil {
		return nil, err
	}
	// A step is not interrupted while others take it; a rank that fails ends the wait.
	all, err := c.AllGather(context.Background(), message)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for i := range all {
		if _, err := binary.Decode(all[i], binary.LittleEndian, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// agreeStep tells the other ranks whether this one has a step, and returns the number of targets
// of all of them. If any rank has none, because of an error, an interruption, or because the
// epochs are over, all return an error.
func (t *trainer) agreeStep(step *loader.Step, err error) (targets int, _ error) {
	if t.World.Size() == 1 {
		if err != nil {
			return 0, err
		}
		return step.Targets, nil
	}
	mine := stepNews{Over: errors.Is(err, errEpochsOver), Stop: errors.Is(err, context.Canceled)}
	if err == nil {
		mine.Targets = int64(step.Targets)
	}
	mine.Wrong = err != nil && !mine.Over && !mine.Stop
	mine.Found = int64(t.stats.Found())
	all, failed := allGather(t.job, mine)
	if failed != nil {
		return 0, failed
	}
	over, stop, wrong, found := 0, false, false, false
	for _, n := range all {
		found = found || n.Found > 0
		targets += int(n.Targets)
		stop, wrong = stop || n.Stop, wrong || n.Wrong
		if n.Over {
			over++
		}
	}
	if found {
		if failed := t.shareBadRows(); failed != nil {
			return 0, failed
		}
	}
	switch {
	case wrong:
		if !mine.Wrong {
			err = nil
		}
		return 0, t.agree(context.Background(), err)
	case stop:
		t.interrupt()
		return 0, t.agree(context.Background(), context.Canceled)
	case over == len(all):
		return 0, errEpochsOver
	case over > 0:
		return 0, t.agree(context.Background(), errors.New("some ranks have read all of the data and others have not"))
	}
	return targets, nil
}

// shareBadRows tells the other ranks which bad rows this one has found, so that all count the same
// ones and rank 0 lists them.
func (t *trainer) shareBadRows() error {
	var mine bytes.Buffer
	if err := gob.NewEncoder(&mine).Encode(t.stats.TakeFound()); err != nil {
		return err
	}
	all, err := t.job.AllGather(context.Background(), mine.Bytes())
	if err != nil {
		return err
	}
	for rank, message := range all {
		var found []data.NumberedVerdict
		if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&found); err != nil {
			return err
		}
		if rank != t.World.Rank() {
			t.stats.Merge(found)
		}
	}
	return nil
}

// stepTotal is the sums of a step over all ranks.
type stepTotal struct {
	stepSum
	losses [][1]float32 // with one rank: of its micro-batches, once the update has ended
	rates  []float64    // with several: the tokens a second of each
}

// loss returns the loss summed over the targets, in nats.
func (s stepTotal) loss() float64 {
	sum := s.Loss
	for _, l := range s.losses {
		sum += float64(l[0])
	}
	return sum
}

// sumSteps adds what the ranks tell, in their order.
func (t *trainer) sumSteps(mine stepSum) (sum stepTotal, err error) {
	all, err := allGather(t.job, mine)
	for _, n := range all {
		sum.Loss += n.Loss
		sum.Squares += n.Squares
		sum.Tokens += n.Tokens
		sum.Images += n.Images
		sum.Clips += n.Clips
		sum.rates = append(sum.rates, float64(n.Tokens)/max(n.Seconds, 1e-9))
	}
	return sum, err
}

// agreeText returns the first text that is not empty, by rank, with that rank's name.
func (t *trainer) agreeText(text string) (string, error) {
	if t.World.Size() == 1 {
		return text, nil
	}
	all, err := t.job.AllGather(context.Background(), []byte(text))
	if err != nil {
		return "", err
	}
	for rank, text := range all {
		if len(text) > 0 {
			return fmt.Sprintf("%s on rank %d (%s)", text, rank, t.World.Host(rank)), nil
		}
	}
	return "", nil
}

// sumValidation adds the loss and the targets of all ranks.
func (t *trainer) sumValidation(sum float64, targets int) (float64, int, error) {
	total, err := t.sumSteps(stepSum{Loss: sum, Tokens: int64(targets)})
	return total.Loss, int(total.Tokens), err
}
