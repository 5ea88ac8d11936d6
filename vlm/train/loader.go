package train

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

// Cursor is a place in the data: the batches of an epoch that were consumed.
type Cursor struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"`
}

// Loader turns the rows of a data set into batches for the device.
type Loader struct {
	dataset  *data.Dataset
	rows     []int // of the data set
	recipe   Recipe
	shape    StepShape
	vision   vlm.VisionConfig
	sampler  packing.Sampler
	schedule packing.Schedule
	stats    *data.RowStats

	mu     sync.Mutex
	cache  map[int][]*packing.Sample // by row: the same text is asked for every epoch
	cached int                       // tokens in it
}

// cacheTokens bounds the encoded text that a Feed keeps.
const cacheTokens = 1 << 24

// NewLoader reads the given rows as the recipe says.
func NewLoader(d *data.Dataset, rows []int, l *vlm.Processor, r Recipe, v vlm.VisionConfig, tally *data.RowStats) *Loader {
	return &Loader{
		dataset: d, rows: rows, recipe: r, vision: v, stats: tally, cache: map[int][]*packing.Sample{},
		shape:    StepShape{Rows: r.BatchSize, Tokens: r.SeqLen},
		sampler:  packing.Sampler{Encoder: l.Encoder, RowLen: r.SeqLen, Turns: r.Turns},
		schedule: packing.Schedule{Seed: r.Seed, Shuffle: r.Shuffle, PoolSize: r.PoolSize, RowLen: r.SeqLen, MaxBatch: r.BatchSize},
	}
}

// Batch is a batch with its pixels and the cursor behind it.
type Batch struct {
	*packing.Batch
	Pixels []byte // [pictures,S,S,C]
	Tokens int    // that are not padding
	Next   Cursor
	// The samples as they lie in the rows, for reading results back.
	Samples [][]*packing.Sample
}

// Batches sends batches from a cursor on, epoch after epoch, until ctx ends; they
// are made ahead of their use. The error of the sequence, if any, comes last.
func (f *Loader) Batches(ctx context.Context, from Cursor) <-chan LoadedBatch {
	out := make(chan LoadedBatch, 4)
	go func() {
		defer close(out)
		send := func(item LoadedBatch) bool {
			select {
			case out <- item:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for epoch, skip := from.Epoch, from.Batch; ; epoch, skip = epoch+1, 0 {
			learnt := 0
			_, err := f.epoch(ctx, epoch, skip, func(b *Batch) bool {
				learnt += b.TargetCount
				return send(LoadedBatch{Batch: b})
			})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				send(LoadedBatch{Err: err})
				return
			case learnt+skip == 0: // a whole epoch, and the next ones would be like it
				send(LoadedBatch{Err: errors.New("no row of the data can be used: " + f.stats.String())})
				return
			}
			if err := f.stats.Check(f.recipe.MaxBadFraction, true); err != nil {
				send(LoadedBatch{Err: err})
				return
			}
		}
	}()
	return out
}

// LoadedBatch is a batch or the error that ended the sequence.
type LoadedBatch struct {
	Batch *Batch
	Err   error
}

// epoch calls use for every batch of one epoch, until it returns false or ctx ends.
func (f *Loader) epoch(ctx context.Context, epoch, skip int, use func(*Batch) bool) (n int, err error) {
	for samples, err := range f.schedule.Epoch(epoch, len(f.rows), skip, f.samplesUntil(ctx)) {
		if err != nil {
			return n, err
		}
		b, err := f.build(samples)
		if err != nil {
			return n, err
		}
		n++
		b.Next = Cursor{epoch, skip + n}
		if err := f.stats.Check(f.recipe.MaxBadFraction, false); err != nil {
			return n, err
		}
		if !use(b) {
			return n, nil
		}
	}
	return n, nil
}

// CountBatches is the number of batches of an epoch, found by encoding all its
// text.
func (f *Loader) CountBatches(ctx context.Context, epoch int) (int, error) {
	n := 0
	for _, err := range f.schedule.Epoch(epoch, len(f.rows), 0, f.samplesUntil(ctx)) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// samplesUntil is samples that fails where ctx has ended: a pool of rows takes its time.
func (f *Loader) samplesUntil(ctx context.Context) func(i int) ([]*packing.Sample, error) {
	return func(i int) ([]*packing.Sample, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return f.samples(i)
	}
}

// samples encodes the text of a row. A row without an answer gives none.
func (f *Loader) samples(i int) ([]*packing.Sample, error) {
	f.mu.Lock()
	cached, ok := f.cache[i]
	f.mu.Unlock()
	if ok {
		return cached, nil
	}
	samples, err := f.encoded(f.rows[i])
	if err != nil {
		return nil, err
	}
	tokens := 0
	for _, s := range samples {
		s.Row = f.rows[i]
		tokens += s.Len()
	}
	f.mu.Lock()
	if f.cached+tokens <= cacheTokens {
		f.cache[i] = samples
		f.cached += tokens
	}
	f.mu.Unlock()
	return samples, nil
}

// encoded encodes row n of the data set. A row that is damaged, or that the chat
// template refuses, gives no samples.
func (f *Loader) encoded(n int) ([]*packing.Sample, error) {
	row, err := f.dataset.Row(n)
	if err != nil {
		return nil, f.skipped(n, err)
	}
	if v := data.CheckTexts(row); v.Status == data.Skip {
		f.stats.Record(n, v)
		return nil, nil
	}
	samples, counts, err := f.sampler.Samples(row.Index, conversation(row))
	if err != nil {
		f.stats.Record(n, data.Verdict{File: row.File, Row: row.Index, Status: data.Skip, Reason: err.Error()})
		return nil, nil
	}
	f.stats.Encoded(n, row, counts, f.recipe.SeqLen)
	return samples, nil
}

// skipped counts a row that is damaged; other errors it returns.
func (f *Loader) skipped(n int, err error) error {
	v, ok := data.Damaged(err)
	if ok {
		f.stats.Record(n, v)
		return nil
	}
	return err
}

// conversation is the turns of a row that have an answer, and its pictures.
func conversation(row data.Row) chat.Conversation {
	c := chat.Conversation{Images: len(row.Images)}
	for _, t := range row.Answered() {
		c.Turns = append(c.Turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	return c
}

// build decodes the pictures of the samples, drops the samples whose pictures
// cannot be decoded, and lays the rest out.
func (f *Loader) build(rows [][]*packing.Sample) (*Batch, error) {
	pictures, err := f.decode(rows)
	if err != nil {
		return nil, err
	}
	kept := make([][]*packing.Sample, len(rows))
	for i, row := range rows {
		for _, s := range row {
			if pictures[s.Row] != nil {
				kept[i] = append(kept[i], s)
			}
		}
	}
	b, err := packing.Build(packing.Shape{Rows: f.shape.Rows, T: f.shape.Tokens, Patches: f.vision.Patches()}, f.recipe.Modes(), kept)
	if err != nil {
		return nil, err
	}
	out := &Batch{Batch: b, Samples: kept}
	for _, p := range b.Images {
		out.Pixels = append(out.Pixels, pictures[p.Row][p.Image]...)
	}
	for _, s := range b.Segments {
		if s >= 0 {
			out.Tokens++
		}
	}
	return out, nil
}

// decoders is how many pictures are decoded at once: a GPU takes more of them a
// second than a core decodes, and the CPU device wants cores too.
var decoders = max(1, runtime.GOMAXPROCS(0)/2)

// decode returns the prepared pictures by row of the data set, nil where one of
// them is bad.
func (f *Loader) decode(rows [][]*packing.Sample) (map[int][][]byte, error) {
	var order []int
	all := map[int][][]byte{}
	for _, row := range rows {
		for _, s := range row {
			if _, seen := all[s.Row]; !seen {
				order, all[s.Row] = append(order, s.Row), nil
			}
		}
	}
	prepared, verdicts := make([][][]byte, len(order)), make([]data.Verdict, len(order))
	var group errgroup.Group
	group.SetLimit(decoders)
	for i, n := range order {
		group.Go(func() error {
			row, err := f.dataset.Row(n)
			if err == nil {
				prepared[i], verdicts[i] = data.Prepare(row, f.vision.ImageSize)
			} else if v, ok := data.Damaged(err); ok {
				verdicts[i], err = v, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, n := range order { // told in the data's order, whoever was first
		f.stats.Record(n, verdicts[i])
		if verdicts[i].Status == data.Use {
			all[n] = prepared[i]
		}
	}
	return all, nil
}

// pictures returns the prepared pictures of a row, nil when one is bad.
func (f *Loader) pictures(i int) ([][]byte, error) {
	row, err := f.dataset.Row(i)
	if err != nil {
		return nil, f.skipped(i, err)
	}
	out, verdict := data.Prepare(row, f.vision.ImageSize)
	f.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return nil, nil
	}
	return out, nil
}
