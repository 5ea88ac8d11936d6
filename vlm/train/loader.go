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

// Cursor is a position in the data: the number of batches consumed of an epoch.
type Cursor struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"`
}

// Loader turns the rows of a dataset into batches for the device.
type Loader struct {
	dataset  *data.Dataset
	rows     []int // indices into dataset
	recipe   Recipe
	shape    StepShape
	vision   vlm.VisionConfig
	sampler  packing.Sampler
	schedule packing.Schedule
	stats    *data.RowStats

	mu     sync.Mutex
	cache  map[int][]*packing.Sample // encoded samples by index into rows, reused every epoch
	cached int                       // number of tokens in cache
}

// cacheTokens limits the encoded text that a Loader caches.
const cacheTokens = 1 << 24

// NewLoader makes a loader of the given rows of a dataset, encoded by the processor with the
// settings of the recipe. Skipped rows are counted in stats.
func NewLoader(d *data.Dataset, rows []int, p *vlm.Processor, r Recipe, v vlm.VisionConfig, stats *data.RowStats) *Loader {
	return &Loader{
		dataset: d, rows: rows, recipe: r, vision: v, stats: stats, cache: map[int][]*packing.Sample{},
		shape:    StepShape{Rows: r.BatchSize, Tokens: r.SeqLen},
		sampler:  packing.Sampler{Encoder: p.Encoder, RowLen: r.SeqLen, Turns: r.Turns},
		schedule: packing.Schedule{Seed: r.Seed, Shuffle: r.Shuffle, PoolSize: r.PoolSize, RowLen: r.SeqLen, MaxBatch: r.BatchSize},
	}
}

// Batch is a packed batch with its pixels and the cursor after it.
type Batch struct {
	*packing.Batch
	Pixels []byte // [images, S, S, C]
	Tokens int    // without padding
	Next   Cursor
	// Samples are the packed samples of each row, to map results back to them.
	Samples [][]*packing.Sample
}

// Batches sends batches from a cursor on, epoch after epoch, until ctx ends. They are prepared
// ahead of use. An error is sent as the last item.
func (l *Loader) Batches(ctx context.Context, from Cursor) <-chan LoadedBatch {
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
			targets := 0
			_, err := l.epoch(ctx, epoch, skip, func(b *Batch) bool {
				targets += b.TargetCount
				return send(LoadedBatch{Batch: b})
			})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				send(LoadedBatch{Err: err})
				return
			case targets+skip == 0: // a whole epoch without targets; the next ones would be the same
				send(LoadedBatch{Err: errors.New("no row of the data can be used: " + l.stats.String())})
				return
			}
			if err := l.stats.Check(l.recipe.MaxBadFraction, true); err != nil {
				send(LoadedBatch{Err: err})
				return
			}
		}
	}()
	return out
}

// LoadedBatch is a batch, or the error that ended the sequence.
type LoadedBatch struct {
	Batch *Batch
	Err   error
}

// epoch calls use for every batch of an epoch after the first skip, until it returns false or ctx
// ends. It returns the number of batches passed to use.
func (l *Loader) epoch(ctx context.Context, epoch, skip int, use func(*Batch) bool) (n int, err error) {
	for samples, err := range l.schedule.Epoch(epoch, len(l.rows), skip, l.samplesWithContext(ctx)) {
		if err != nil {
			return n, err
		}
		b, err := l.build(samples)
		if err != nil {
			return n, err
		}
		n++
		b.Next = Cursor{epoch, skip + n}
		if err := l.stats.Check(l.recipe.MaxBadFraction, false); err != nil {
			return n, err
		}
		if !use(b) {
			return n, nil
		}
	}
	return n, nil
}

// CountBatches returns the number of batches in an epoch. It encodes all of the text.
func (l *Loader) CountBatches(ctx context.Context, epoch int) (int, error) {
	n := 0
	for _, err := range l.schedule.Epoch(epoch, len(l.rows), 0, l.samplesWithContext(ctx)) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// samplesWithContext returns samples as a function that fails when ctx has ended, since encoding a
// pool of rows takes long.
func (l *Loader) samplesWithContext(ctx context.Context) func(i int) ([]*packing.Sample, error) {
	return func(i int) ([]*packing.Sample, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return l.samples(i)
	}
}

// samples returns the encoded text of a row. A row without an answer has none.
func (l *Loader) samples(i int) ([]*packing.Sample, error) {
	l.mu.Lock()
	cached, ok := l.cache[i]
	l.mu.Unlock()
	if ok {
		return cached, nil
	}
	samples, err := l.encode(l.rows[i])
	if err != nil {
		return nil, err
	}
	tokens := 0
	for _, s := range samples {
		s.Row = l.rows[i]
		tokens += s.Len()
	}
	l.mu.Lock()
	if l.cached+tokens <= cacheTokens {
		l.cache[i] = samples
		l.cached += tokens
	}
	l.mu.Unlock()
	return samples, nil
}

// encode encodes row n of the dataset. Damaged rows and rows that the chat template rejects are
// recorded and have no samples.
func (l *Loader) encode(n int) ([]*packing.Sample, error) {
	row, err := l.dataset.Row(n)
	if err != nil {
		return nil, l.recordDamaged(n, err)
	}
	if v := data.CheckTexts(row); v.Status == data.Skip {
		l.stats.Record(n, v)
		return nil, nil
	}
	samples, counts, err := l.sampler.Samples(row.Index, conversation(row))
	if err != nil {
		l.stats.Record(n, data.Verdict{File: row.File, Row: row.Index, Status: data.Skip, Reason: err.Error()})
		return nil, nil
	}
	l.stats.Encoded(n, row, counts, l.recipe.SeqLen)
	return samples, nil
}

// recordDamaged records a damaged row and returns nil; it returns any other error unchanged.
func (l *Loader) recordDamaged(n int, err error) error {
	v, ok := data.Damaged(err)
	if ok {
		l.stats.Record(n, v)
		return nil
	}
	return err
}

// conversation returns the answered turns of a row and its number of images.
func conversation(row data.Row) chat.Conversation {
	c := chat.Conversation{Images: len(row.Images)}
	for _, t := range row.Answered() {
		c.Turns = append(c.Turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	return c
}

// build decodes the images of the samples, drops samples with images that cannot be decoded, and
// packs the rest into a batch.
func (l *Loader) build(rows [][]*packing.Sample) (*Batch, error) {
	images, err := l.decodeImages(rows)
	if err != nil {
		return nil, err
	}
	kept := make([][]*packing.Sample, len(rows))
	for i, row := range rows {
		for _, s := range row {
			if images[s.Row] != nil {
				kept[i] = append(kept[i], s)
			}
		}
	}
	b, err := packing.Build(packing.Shape{Rows: l.shape.Rows, T: l.shape.Tokens, Patches: l.vision.Patches()}, l.recipe.Modes(), kept)
	if err != nil {
		return nil, err
	}
	out := &Batch{Batch: b, Samples: kept}
	for _, p := range b.Images {
		out.Pixels = append(out.Pixels, images[p.Row][p.Image]...)
	}
	for _, s := range b.Segments {
		if s >= 0 {
			out.Tokens++
		}
	}
	return out, nil
}

// decodeWorkers is the number of images decoded concurrently. Half of the cores are left to the
// CPU device; one core decodes images slower than a GPU trains on them.
var decodeWorkers = max(1, runtime.GOMAXPROCS(0)/2)

// decodeImages returns the preprocessed images by dataset row, nil for a row with a bad image.
func (l *Loader) decodeImages(rows [][]*packing.Sample) (map[int][][]byte, error) {
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
	group.SetLimit(decodeWorkers)
	for i, n := range order {
		group.Go(func() error {
			row, err := l.dataset.Row(n)
			if err == nil {
				prepared[i], verdicts[i] = data.Prepare(row, l.vision.ImageSize)
			} else if v, ok := data.Damaged(err); ok {
				verdicts[i], err = v, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, n := range order { // recorded in the order of the data, not of completion
		l.stats.Record(n, verdicts[i])
		if verdicts[i].Status == data.Use {
			all[n] = prepared[i]
		}
	}
	return all, nil
}

// images returns the preprocessed images of a dataset row, nil if one is bad.
func (l *Loader) images(i int) ([][]byte, error) {
	row, err := l.dataset.Row(i)
	if err != nil {
		return nil, l.recordDamaged(i, err)
	}
	out, verdict := data.Prepare(row, l.vision.ImageSize)
	l.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return nil, nil
	}
	return out, nil
}
