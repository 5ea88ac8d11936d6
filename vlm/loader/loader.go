// Package loader turns the rows of a dataset into steps of training: it reads them in shuffled
// order, packs their samples, decodes their images just before they are used, and divides the
// work among ranks.
package loader

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
	Config
	dataset  *data.Dataset
	rows     *data.RowSet // the rows of dataset that are used
	sampler  packing.Sampler
	schedule packing.Schedule
	stats    *data.RowStats
	cache    sampleCache
	sizes    []data.IndexEntry // of images that were decoded, for the index
	kept     rowKeeper
}

// Config is a Loader's settings.
type Config struct {
	BatchSize  int // packed rows per micro-batch
	Accumulate int // micro-batches per step and rank
	SeqLen     int // tokens per packed row
	PoolSize   int // samples packed together
	Modes      packing.Modes
	Shuffle    data.Shuffle
	Epochs     int // 0 = without end
	Vision     vlm.VisionConfig
	Audio      vlm.AudioConfig
	Flip       bool // mirror images at random, where no text of their row names a side
	Perturb    bool // change sound at random: where it starts, how fast it is, and its noise
	// MaxBadFraction is the fraction of unusable rows above which loading fails.
	MaxBadFraction float64

	Part       Part
	Workers    int         // images decoded and texts encoded at once; 0 = half of the cores
	Index      *data.Index // of the rows' lengths; nil = none
	IndexError func(error) // is told when the index cannot be written; may be nil
	// Keep keeps the rows in memory after the first epoch, if they are not too large. Every epoch
	// must have the same order, as that of validation rows.
	Keep bool
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

// New makes a loader of the given rows of a dataset, encoded by the processor. Skipped rows are
// counted in stats.
func New(d *data.Dataset, rows *data.RowSet, p *vlm.Processor, c Config, stats *data.RowStats) *Loader {
	if c.Workers == 0 {
		c.Workers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Loader{
		Config: c, dataset: d, rows: rows, stats: stats,
		sampler:  packing.Sampler{Encoder: p.Encoder, RowLen: c.SeqLen, Turns: c.Modes.Turns},
		schedule: packing.Schedule{Seed: c.Shuffle.Seed, Shuffle: c.Shuffle.Buffer > 0, PoolSize: c.PoolSize, RowLen: c.SeqLen, MaxBatch: 1},
	}
}

// Dataset returns the dataset that is read.
func (l *Loader) Dataset() *data.Dataset { return l.dataset }

// Rows returns the rows of the dataset that are used.
func (l *Loader) Rows() *data.RowSet { return l.rows }

// stepRows returns the number of packed rows in a step of all ranks.
func (l *Loader) stepRows() int { return l.BatchSize * l.Accumulate * l.Part.ranks() }

// Loaded is a step, or the error that ended the sequence.
type Loaded struct {
	Step *Step
	Err  error
}

// Steps sends steps from a cursor on, epoch after epoch, until ctx ends or, if the recipe has
// epochs, until they are over. They are prepared ahead of use. An error is sent as the last item.
func (l *Loader) Steps(ctx context.Context, from Cursor) <-chan Loaded {
	out := make(chan Loaded, l.stepsAhead())
	go func() {
		defer close(out)
		send := func(item Loaded) bool {
			select {
			case out <- item:
				return true
			case <-ctx.Done():
				return false
			}
		}
		last := math.MaxInt
		if l.Epochs > 0 {
			last = l.Epochs
		}
		var held *Step // until it is known whether it is the last
		for epoch, skip := from.Epoch, from.Row; epoch < last; epoch, skip = epoch+1, 0 {
			err := l.Epoch(ctx, epoch, skip, func(s *Step) bool {
				if l.Epochs == 0 {
					return send(Loaded{Step: s})
				}
				s, held = held, s
				return s == nil || send(Loaded{Step: s})
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				send(Loaded{Err: err})
				return
			}
		}
		if held != nil {
			held.Last = true
			send(Loaded{Step: held})
		}
	}()
	return out
}

// aheadBytes is the memory for the pixels and the sound of steps that are prepared ahead of use, besides one.
const aheadBytes = 256 << 20

// stepsAhead returns the number of steps that are prepared ahead of use.
func (l *Loader) stepsAhead() int {
	rows := l.BatchSize * l.Accumulate
	perImage, images := l.Vision.PixelBytes(), rows*max(1, l.SeqLen/max(1, l.Vision.Patches()))
	frames := rows * l.SeqLen
	return min(4, max(1, aheadBytes/max(1, perImage*images+4*l.Audio.FrameSize*frames)))
}

// noTargets reports data of which nothing can be trained on.
func (l *Loader) noTargets() error {
	return errors.New("no row of the data can be used: " + l.stats.String())
}

// Epoch calls use for every step of an epoch after the first skip packed rows, until it returns
// false or ctx ends.
func (l *Loader) Epoch(ctx context.Context, epoch, skip int, use func(*Step) bool) error {
	if err := l.schedule.Check(); err != nil {
		return err
	}
	order := l.dataset.Order(l.rows, l.Shuffle, epoch)
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
	l.note(l.sizes)
	l.sizes = l.sizes[:0]
	// After a whole epoch without targets the next ones would be the same.
	any, err := l.anyTargets(ctx, a.targets > 0 || skip > 0)
	if err != nil {
		return err
	}
	if !any {
		return l.noTargets()
	}
	return l.stats.Check(l.MaxBadFraction, true)
}

// anyTargets reports whether any of the ranks had a target in this epoch.
func (l *Loader) anyTargets(ctx context.Context, mine bool) (bool, error) {
	if l.Part.ranks() == 1 {
		return mine, nil
	}
	message := []byte{0}
	if mine {
		message[0] = 1
	}
	all, err := l.Part.Exchange.AllGather(ctx, message)
	any := false
	for _, m := range all {
		any = any || len(m) == 1 && m[0] == 1
	}
	return any, err
}

// CountSteps returns the number of steps of an epoch. exact is false if it is estimated, because
// the lengths of some rows are not known yet.
func (l *Loader) CountSteps(ctx context.Context, epoch int) (steps int, exact bool, err error) {
	order := l.dataset.Order(l.rows, l.Shuffle, epoch)
	packed, at, err := l.countPacked(ctx, order, epoch)
	if err != nil || at == order.Len() {
		return (packed + l.stepRows() - 1) / l.stepRows(), true, err
	}
	tokens, err := l.meanTokens()
	if err != nil {
		return 0, false, err
	}
	estimate := tokens * float64(order.Len()) / float64(l.SeqLen)
	return max(1, int(math.Ceil(estimate/float64(l.stepRows())))), false, nil
}

// probeRows is the number of rows that meanTokens and CheckSeqLen encode.
const probeRows = 256

// meanTokens returns the mean number of tokens of a row, from the first rows.
func (l *Loader) meanTokens() (float64, error) {
	tokens, n := 0, 0
	for i := range l.rows.All() {
		if n++; n > probeRows {
			break
		}
		samples, err := l.Samples(i)
		if err != nil {
			return 0, err
		}
		for _, s := range samples {
			tokens += s.Len()
		}
	}
	if tokens == 0 {
		return 0, l.noTargets()
	}
	return float64(tokens) / float64(min(n, probeRows)), nil
}

// Samples reads, encodes and counts a row of the dataset. A bad row has none.
func (l *Loader) Samples(i int) ([]*packing.Sample, error) {
	row, err := l.dataset.Row(i)
	if _, damaged := data.Damaged(err); err != nil && !damaged {
		return nil, err
	}
	s := data.Streamed{Row: row, Number: i, Mine: true, Err: err}
	e := l.encode(&s)
	l.record(&s, e)
	if e.verdict.Status != data.Use {
		return nil, nil
	}
	return e.samples, nil
}

// Conversation returns the answered turns of a row, its number of images and the tokens of its
// clips. A row with a bad clip, or with files that the model does not take, is a Verdict with the
// status Skip.
func Conversation(row data.Row, v vlm.VisionConfig, a vlm.AudioConfig) (chat.Conversation, data.Verdict) {
	c := chat.Conversation{Images: len(row.Images)}
	if reason := media(v, a).Refuses(row); reason != "" {
		return c, row.Skip(reason)
	}
	samples, verdict := row.Samples(a.SampleRate)
	if v.KeepsAspect() && verdict.Status == data.Use {
		var sizes []data.Size
		if sizes, verdict = row.Sizes(); verdict.Status == data.Use {
			var err error
			if c.Grids, err = Grids(v, sizes); err != nil {
				return c, row.Skip(err.Error())
			}
		}
	}
	for _, n := range samples {
		c.Clips = append(c.Clips, a.Tokens(n))
	}
	for _, t := range row.Answered() {
		c.Turns = append(c.Turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	return c, verdict
}

// Grids returns the patches of images of given sizes; nil if all have as many.
func Grids(v vlm.VisionConfig, sizes []data.Size) ([]chat.Grid, error) {
	if !v.KeepsAspect() {
		return nil, nil
	}
	grids := make([]chat.Grid, len(sizes))
	for i, s := range sizes {
		var err error
		if grids[i], err = v.ImageGrid(s.Width, s.Height); err != nil {
			return nil, err
		}
	}
	return grids, nil
}

// media is what a model takes of a row.
func media(v vlm.VisionConfig, a vlm.AudioConfig) data.Media {
	return data.Media{Images: v.Fit(), SampleRate: a.SampleRate}
}

// keptBytes limits the rows that a rowKeeper keeps.
const keptBytes = 64 << 20

// rowKeeper keeps the rows of a small selection that every epoch reads in the same order, such as
// the validation rows, after the first epoch.
type rowKeeper struct {
	complete bool
	rows     []data.Streamed
}

// stream yields the rows of an order from a position on.
func (l *Loader) stream(ctx context.Context, order *data.Order, from int) iter.Seq2[data.Streamed, error] {
	readers := data.Readers{Number: l.Part.Rank, Count: l.Part.Ranks}
	if !l.Keep || from > 0 {
		return order.Stream(ctx, from, readers)
	}
	return func(yield func(data.Streamed, error) bool) {
		if l.kept.complete {
			for _, row := range l.kept.rows {
				if !yield(row, nil) {
					return
				}
			}
			return
		}
		l.kept.rows = nil
		bytes := 0
		for row, err := range order.Stream(ctx, 0, readers) {
			if bytes += row.Bytes(); bytes <= keptBytes {
				l.kept.rows = append(l.kept.rows, row)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if l.kept.complete = bytes <= keptBytes; !l.kept.complete {
			l.kept.rows = nil
		}
	}
}

// Row returns a row and its prepared images and sound, nil if one is bad, by its number in the
// dataset.
func (l *Loader) Row(i int) (data.Row, *data.Prepared, error) {
	row, ok := data.Row{}, false
	for _, kept := range l.kept.rows {
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
	prepared, verdict := data.Prepare(row, media(l.Vision, l.Audio))
	l.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return row, nil, nil
	}
	return row, &prepared, nil
}
