package train

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

// Cursor is a position in the data: the number of packed rows consumed of an epoch. It does not
// depend on how a step is divided into micro-batches or among ranks.
type Cursor struct {
	Epoch int `json:"epoch"`
	Row   int `json:"row"`
	Batch int `json:"batch,omitempty"` // in old checkpoints: micro-batches instead of rows
}

// Loader turns the rows of a dataset into steps for the device:
//
//	row groups, in shuffled order     data.Order, data.Stream
//	→ rows, mixed in a shuffle buffer
//	→ samples, in pools               pools.go
//	→ packed rows                     packing.Schedule
//	→ steps, with decoded images      steps.go
//
// The order depends on the seed, the epoch and the data alone. With several ranks each reads its
// share of the row groups; the ranks tell each other the lengths of the samples, pack alike, and
// send rows to the rank that trains on them.
type Loader struct {
	dataset      *data.Dataset
	rows         *data.RowSet // the rows of dataset that are used
	recipe       Recipe
	part         Part
	vision       vlm.VisionConfig
	sampler      packing.Sampler
	schedule     packing.Schedule
	shuffle      data.Shuffle
	stats        *data.RowStats
	index        *data.Index // nil: none is kept
	workers      int         // images decoded and texts encoded at once
	cache        sampleCache
	keep         rowKeeper
	onIndexError func(error)
}

// Part is a rank's part of the work of a run. The zero value is all of it.
type Part struct {
	Rank, Ranks int
	Exchange    Exchange // between the loaders of the ranks
}

func (p Part) ranks() int { return max(1, p.Ranks) }

// Exchange is how ranks exchange messages. Every rank makes the same calls in the same order.
type Exchange interface {
	// AllGather sends mine to every rank and returns the messages of all, by rank.
	AllGather(ctx context.Context, mine []byte) ([][]byte, error)
	// AllToAll sends to[r] to rank r and returns the messages of all to this one, by rank.
	AllToAll(ctx context.Context, to [][]byte) ([][]byte, error)
}

// NewLoader makes a loader of the given rows of a dataset, encoded by the processor with the
// settings of the recipe. Skipped rows are counted in stats.
func NewLoader(d *data.Dataset, rows *data.RowSet, p *vlm.Processor, r Recipe, v vlm.VisionConfig, stats *data.RowStats) *Loader {
	return &Loader{
		dataset: d, rows: rows, recipe: r, vision: v, stats: stats, workers: max(1, runtime.GOMAXPROCS(0)/2),
		sampler:  packing.Sampler{Encoder: p.Encoder, RowLen: r.SeqLen, Turns: r.Turns},
		schedule: packing.Schedule{Seed: r.Seed, Shuffle: r.Shuffle, PoolSize: r.PoolSize, RowLen: r.SeqLen, MaxBatch: 1},
		shuffle:  r.shuffle(),
	}
}

// shuffleBytes limits the shuffle buffer's memory: compressed images and texts.
const shuffleBytes = 512 << 20

// shuffle returns how the rows of an epoch are mixed.
func (r Recipe) shuffle() data.Shuffle {
	s := data.Shuffle{Seed: r.Seed, Buffer: int(r.ShuffleBuffer), Bytes: shuffleBytes}
	if !r.Shuffle {
		s.Buffer = 0
	}
	return s
}

// stepRows returns the number of packed rows in a step of all ranks.
func (l *Loader) stepRows() int { return l.recipe.BatchSize * l.recipe.Accumulate * l.part.ranks() }

// LoadedStep is a step, or the error that ended the sequence.
type LoadedStep struct {
	Step *Step
	Err  error
}

// Steps sends steps from a cursor on, epoch after epoch, until ctx ends or, if the recipe has
// epochs, until they are over. They are prepared ahead of use. An error is sent as the last item.
func (l *Loader) Steps(ctx context.Context, from Cursor) <-chan LoadedStep {
	out := make(chan LoadedStep, l.stepsAhead())
	go func() {
		defer close(out)
		send := func(item LoadedStep) bool {
			select {
			case out <- item:
				return true
			case <-ctx.Done():
				return false
			}
		}
		last := math.MaxInt
		if l.recipe.Epochs > 0 {
			last = l.recipe.Epochs
		}
		var held *Step // until it is known whether it is the last
		for epoch, skip := from.Epoch, from.Row; epoch < last; epoch, skip = epoch+1, 0 {
			err := l.epoch(ctx, epoch, skip, func(s *Step) bool {
				if l.recipe.Epochs == 0 {
					return send(LoadedStep{Step: s})
				}
				s, held = held, s
				return s == nil || send(LoadedStep{Step: s})
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				send(LoadedStep{Err: err})
				return
			}
		}
		if held != nil {
			held.Last = true
			send(LoadedStep{Step: held})
		}
	}()
	return out
}

// aheadBytes is the memory for the pixels of steps that are prepared ahead of use, besides one.
const aheadBytes = 256 << 20

// stepsAhead returns the number of steps that are prepared ahead of use.
func (l *Loader) stepsAhead() int {
	perImage := l.vision.ImageSize * l.vision.ImageSize * l.vision.NumChannels
	images := l.recipe.BatchSize * l.recipe.Accumulate * max(1, l.recipe.SeqLen/max(1, l.vision.Patches()))
	return min(4, max(1, aheadBytes/max(1, perImage*images)))
}

// noTargets reports data of which nothing can be trained on.
func (l *Loader) noTargets() error {
	return errors.New("no row of the data can be used: " + l.stats.String())
}

// epoch calls use for every step of an epoch after the first skip packed rows, until it returns
// false or ctx ends.
func (l *Loader) epoch(ctx context.Context, epoch, skip int, use func(*Step) bool) error {
	if err := l.schedule.Check(); err != nil {
		return err
	}
	order := l.dataset.Order(l.rows, l.shuffle, epoch)
	a := assembler{l: l, epoch: epoch, skip: skip, use: use}
	start, err := l.replay(ctx, order, epoch, skip)
	if err != nil {
		return err
	}
	for p, err := range l.pools(ctx, order, start) {
		if err != nil {
			return err
		}
		if more, err := a.add(ctx, p, order.Len()); err != nil || !more {
			return err
		}
	}
	if more, err := a.finish(ctx); err != nil || !more {
		return err
	}
	// After a whole epoch without targets the next ones would be the same.
	any, err := l.anyTargets(ctx, a.targets > 0 || skip > 0)
	if err != nil {
		return err
	}
	if !any {
		return l.noTargets()
	}
	return l.stats.Check(l.recipe.MaxBadFraction, true)
}

// anyTargets reports whether any of the ranks had a target in this epoch.
func (l *Loader) anyTargets(ctx context.Context, mine bool) (bool, error) {
	if l.part.ranks() == 1 {
		return mine, nil
	}
	message := []byte{0}
	if mine {
		message[0] = 1
	}
	all, err := l.part.Exchange.AllGather(ctx, message)
	any := false
	for _, m := range all {
		any = any || len(m) == 1 && m[0] == 1
	}
	return any, err
}

// CountSteps returns the number of steps of an epoch. exact is false if it is estimated, because
// the lengths of some rows are not known yet.
func (l *Loader) CountSteps(ctx context.Context, epoch int) (steps int, exact bool, err error) {
	order := l.dataset.Order(l.rows, l.shuffle, epoch)
	packed, at, err := l.countPacked(ctx, order, epoch)
	if err != nil || at == order.Len() {
		return (packed + l.stepRows() - 1) / l.stepRows(), true, err
	}
	tokens, err := l.meanTokens()
	if err != nil {
		return 0, false, err
	}
	estimate := tokens * float64(order.Len()) / float64(l.recipe.SeqLen)
	return max(1, int(math.Ceil(estimate/float64(l.stepRows())))), false, nil
}

// meanTokens returns the mean number of tokens of a row, from the first rows.
func (l *Loader) meanTokens() (float64, error) {
	tokens, n := 0, 0
	for i := range l.rows.All() {
		if n++; n > seqLenProbeRows {
			break
		}
		row, err := l.dataset.Row(i)
		if _, damaged := data.Damaged(err); damaged {
			continue
		}
		if err != nil {
			return 0, err
		}
		samples, _, err := l.sampler.Samples(row.Index, conversation(row))
		if err != nil {
			continue
		}
		for _, s := range samples {
			tokens += s.Len()
		}
	}
	if tokens == 0 {
		return 0, l.noTargets()
	}
	return float64(tokens) / float64(min(n, seqLenProbeRows)), nil
}

// conversation returns the answered turns of a row and its number of images.
func conversation(row data.Row) chat.Conversation {
	c := chat.Conversation{Images: len(row.Images)}
	for _, t := range row.Answered() {
		c.Turns = append(c.Turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	return c
}

// keptBytes limits the rows that a rowKeeper keeps.
const keptBytes = 64 << 20

// rowKeeper keeps the rows of a small selection that every epoch reads in the same order, such as
// the validation rows, after the first epoch.
type rowKeeper struct {
	on       bool
	complete bool
	rows     []data.Streamed
}

// stream yields the rows of an order from a position on.
func (l *Loader) stream(ctx context.Context, order *data.Order, from int) iter.Seq2[data.Streamed, error] {
	readers := data.Readers{Number: l.part.Rank, Count: l.part.Ranks}
	if !l.keep.on || from > 0 {
		return order.Stream(ctx, from, readers)
	}
	return func(yield func(data.Streamed, error) bool) {
		if l.keep.complete {
			for _, row := range l.keep.rows {
				if !yield(row, nil) {
					return
				}
			}
			return
		}
		l.keep.rows = nil
		bytes := 0
		for row, err := range order.Stream(ctx, 0, readers) {
			if bytes += row.Bytes(); bytes <= keptBytes {
				l.keep.rows = append(l.keep.rows, row)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if l.keep.complete = bytes <= keptBytes; !l.keep.complete {
			l.keep.rows = nil
		}
	}
}

// row returns a row and its preprocessed images, nil if one is bad, by its number in the dataset.
func (l *Loader) row(i int) (data.Row, [][]byte, error) {
	row, ok := data.Row{}, false
	for _, kept := range l.keep.rows {
		if kept.Number == i && kept.Mine && kept.Err == nil {
			row, ok = kept.Row, true
		}
	}
	if !ok {
		var err error
		if row, err = l.dataset.Row(i); err != nil {
			v, damaged := data.Damaged(err)
			if !damaged {
				return row, nil, err
			}
			l.stats.Record(i, v)
			return row, nil, nil
		}
	}
	images, verdict := data.Prepare(row, l.vision.ImageSize)
	l.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return row, nil, nil
	}
	return row, images, nil
}
