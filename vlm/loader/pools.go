package loader

import (
	"bytes"
	"context"
	"encoding/gob"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

// poolStart is where a pool begins: the sample of a row at a position of the epoch's order.
type poolStart struct {
	Pool     int // its number
	Position int
	Sample   int // of the row at Position, from 0
	Packed   int // packed rows of the epoch before it
}

// pool is samples that are packed together.
type pool struct {
	start   poolStart
	end     int // position in the epoch's order after its last row
	lengths []int
	samples []sampleRef
}

// sampleRef is a sample of a pool: sample and row are nil where another rank has them.
type sampleRef struct {
	owner  int // rank
	sample *packing.Sample
	row    *data.Row
	number int // of the row in the dataset
}

// replay returns the pool with packed row skip of an epoch, or an earlier one if the lengths of
// the rows before are not in the index. All ranks return what rank 0 finds.
func (l *Loader) replay(ctx context.Context, order *data.Order, epoch, skip int) (poolStart, error) {
	var start poolStart
	if skip > 0 && l.Index != nil && l.Part.Rank == 0 {
		var err error
		if start, _, err = l.replayIndex(ctx, order, epoch, func(s poolStart, packed int) bool { return s.Packed+packed <= skip }); err != nil {
			return start, err
		}
	}
	if skip == 0 || l.Part.ranks() == 1 {
		return start, nil
	}
	var message bytes.Buffer
	if err := gob.NewEncoder(&message).Encode(start); err != nil {
		return start, err
	}
	all, err := l.Part.Exchange.AllGather(ctx, message.Bytes())
	if err != nil {
		return start, err
	}
	return start, gob.NewDecoder(bytes.NewReader(all[0])).Decode(&start)
}

// countPacked returns the number of packed rows up to a position of the order: its length, unless
// the lengths of some rows are not in the index.
func (l *Loader) countPacked(ctx context.Context, order *data.Order, epoch int) (packed, position int, err error) {
	if l.Index == nil {
		return 0, 0, nil
	}
	start, position, err := l.replayIndex(ctx, order, epoch, func(poolStart, int) bool { return true })
	return start.Packed, position, err
}

// replayIndex packs pool after pool by the lengths in the index while pass returns true for a pool
// and its number of packed rows. It returns the start of the pool that was not passed, and the
// position in the order up to which lengths are known.
func (l *Loader) replayIndex(ctx context.Context, order *data.Order, epoch int, pass func(start poolStart, packed int) bool) (poolStart, int, error) {
	p := pool{}
	position := 0
	next := func(at, sample int) bool {
		packed := len(l.schedule.Pack(epoch, p.start.Pool, p.lengths))
		if !pass(p.start, packed) {
			return false
		}
		p = pool{start: poolStart{p.start.Pool + 1, at, sample, p.start.Packed + packed}}
		return true
	}
	for row := range order.From(0) {
		if position%replayCheck == 0 && ctx.Err() != nil {
			return p.start, position, ctx.Err()
		}
		e := l.Index.Entry(row)
		if !e.Encoded {
			return p.start, position, nil
		}
		if e.Reason != "" {
			file, n := l.dataset.Place(row)
			l.stats.Record(row, data.Verdict{File: file, Row: n, Status: data.Skip, Reason: e.Reason})
		} else {
			l.stats.Record(row, data.Verdict{Status: data.Use})
		}
		for i, length := range e.Lengths {
			if p.lengths = append(p.lengths, length); len(p.lengths) < l.schedule.PoolSize {
				continue
			}
			at, sample := position, i+1
			if sample == len(e.Lengths) {
				at, sample = position+1, 0
			}
			if !next(at, sample) {
				return p.start, position, nil
			}
		}
		position++
	}
	if len(p.lengths) > 0 {
		next(position, 0)
	}
	return p.start, position, nil
}

// replayCheck is the number of rows between two looks at the context.
const replayCheck = 4096

// chunkRows is the number of rows that are encoded at once and whose lengths the ranks exchange.
const chunkRows = 256

// pools yields the pools of an epoch from one on.
func (l *Loader) pools(ctx context.Context, order *data.Order, start poolStart) iter.Seq2[*pool, error] {
	return func(yield func(*pool, error) bool) {
		p := &pool{start: start}
		position, drop := start.Position, start.Sample
		var chunk []data.Streamed
		// flush encodes the chunk; it returns false if the consumer ended the loop.
		flush := func() bool {
			rows, err := l.encodeChunk(ctx, chunk)
			if err != nil {
				yield(nil, err)
				return false
			}
			for _, row := range rows {
				for i, ref := range row[min(drop, len(row)):] {
					p.samples, p.lengths = append(p.samples, ref.sampleRef), append(p.lengths, ref.length)
					if len(p.samples) < l.schedule.PoolSize {
						continue
					}
					next := poolStart{p.start.Pool + 1, position, drop + i + 1, 0}
					if next.Sample == len(row) {
						next.Position, next.Sample = position+1, 0
					}
					p.end = next.Position
					if !yield(p, nil) {
						return false
					}
					p = &pool{start: next}
				}
				drop = 0
				position++
			}
			chunk = chunk[:0]
			return true
		}
		for row, err := range l.stream(ctx, order, start.Position) {
			if err != nil {
				yield(nil, err)
				return
			}
			if chunk = append(chunk, row); len(chunk) == chunkRows && !flush() {
				return
			}
		}
		if !flush() {
			return
		}
		if len(p.samples) > 0 {
			p.end = position
			yield(p, nil)
		}
	}
}

// encodedSample is a sample of a chunk with its length in tokens.
type encodedSample struct {
	sampleRef
	length int
}

// chunkRow is what the ranks tell each other of a row.
type chunkRow struct {
	Lengths []int
	Reason  string // why it is bad
}

// chunkMessage is what a rank tells the others about its rows of a chunk, in order.
type chunkMessage struct{ Rows []chunkRow }

// encodeChunk encodes the rows of a chunk and returns their samples by row, also those of rows that
// other ranks have.
func (l *Loader) encodeChunk(ctx context.Context, chunk []data.Streamed) ([][]encodedSample, error) {
	mine := make([]encodedRow, len(chunk))
	var encoding errgroup.Group
	encoding.SetLimit(l.Workers)
	for i := range chunk {
		if chunk[i].Mine {
			encoding.Go(func() error {
				mine[i] = l.encode(&chunk[i])
				return ctx.Err()
			})
		}
	}
	if err := encoding.Wait(); err != nil {
		return nil, err
	}
	out := make([][]encodedSample, len(chunk))
	entries := make([]data.IndexEntry, len(chunk))
	var message chunkMessage
	for i := range chunk { // recorded in the order of the data, not of completion
		if !chunk[i].Mine {
			continue
		}
		e := mine[i]
		l.record(&chunk[i], e)
		told := chunkRow{Reason: e.verdict.Reason}
		row := chunk[i].Row
		for _, s := range e.samples {
			told.Lengths = append(told.Lengths, s.Len())
			out[i] = append(out[i], encodedSample{sampleRef{l.Part.Rank, s, &row, chunk[i].Number}, s.Len()})
		}
		message.Rows = append(message.Rows, told)
		entries[i] = data.IndexEntry{Row: chunk[i].Number, Encoded: true, Lengths: told.Lengths, Reason: told.Reason}
	}
	if l.Part.ranks() > 1 {
		if err := l.exchangeLengths(ctx, chunk, message, out, entries); err != nil {
			return nil, err
		}
	}
	l.note(append(entries, l.sizes...))
	l.sizes = l.sizes[:0]
	return out, nil
}

// note adds entries to the index. The first failure to write it is told.
func (l *Loader) note(entries []data.IndexEntry) {
	if l.Index == nil || l.Part.Rank != 0 {
		return
	}
	if err := l.Index.Add(entries); err != nil && l.IndexError != nil {
		l.IndexError(err)
	}
}

// exchangeLengths tells the other ranks the lengths of this one's rows of a chunk, and fills in
// theirs.
func (l *Loader) exchangeLengths(ctx context.Context, chunk []data.Streamed, mine chunkMessage, out [][]encodedSample, entries []data.IndexEntry) error {
	var buffer bytes.Buffer
	if err := gob.NewEncoder(&buffer).Encode(mine); err != nil {
		return err
	}
	all, err := l.Part.Exchange.AllGather(ctx, buffer.Bytes())
	if err != nil {
		return err
	}
	told := make([]chunkMessage, len(all))
	for r, message := range all {
		if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&told[r]); err != nil {
			return err
		}
	}
	for i := range chunk {
		if chunk[i].Mine {
			continue
		}
		owner := chunk[i].Owner
		row := told[owner].Rows[0]
		told[owner].Rows = told[owner].Rows[1:]
		l.recordOther(chunk[i].Number, row)
		for _, length := range row.Lengths {
			out[i] = append(out[i], encodedSample{sampleRef{owner: owner, number: chunk[i].Number}, length})
		}
		entries[i] = data.IndexEntry{Row: chunk[i].Number, Encoded: true, Lengths: row.Lengths, Reason: row.Reason}
	}
	return nil
}

// recordOther counts a row that another rank has encoded.
func (l *Loader) recordOther(number int, row chunkRow) {
	v := data.Verdict{Status: data.Use}
	if row.Reason != "" {
		v.Status, v.Reason = data.Skip, row.Reason
	}
	v.File, v.Row = l.dataset.Place(number)
	l.stats.Merge([]data.NumberedVerdict{{Number: number, Verdict: v}})
}

// encodedRow is the samples of a row and the verdict on its text.
type encodedRow struct {
	samples []*packing.Sample
	counts  packing.Counts
	verdict data.Verdict
}

// encode encodes a row. Damaged rows and rows that the chat template rejects have no samples.
func (l *Loader) encode(row *data.Streamed) encodedRow {
	if row.Err != nil {
		v, _ := data.Damaged(row.Err) // Stream yields no other errors
		return encodedRow{verdict: v}
	}
	if samples, ok := l.cache.get(row.Number); ok {
		return encodedRow{samples: samples, verdict: data.Verdict{File: row.File, Row: row.Index, Status: data.Use}}
	}
	if v := data.CheckTexts(row.Row); v.Status == data.Skip {
		return encodedRow{verdict: v}
	}
	conversation, v := Conversation(row.Row, l.Vision, l.Audio)
	if v.Status == data.Skip {
		return encodedRow{verdict: v}
	}
	samples, counts, err := l.sampler.Samples(row.Number, conversation)
	if err != nil {
		return encodedRow{verdict: data.Verdict{File: row.File, Row: row.Index, Status: data.Skip, Reason: err.Error()}}
	}
	v = data.Verdict{File: row.File, Row: row.Index, Status: data.Use}
	if counts.Skipped > 0 {
		v.Status, v.Reason = data.Skip, data.TooLong(l.SeqLen)
	} else {
		l.cache.add(row.Number, samples)
	}
	return encodedRow{samples, counts, v}
}

// record counts an encoded row.
func (l *Loader) record(row *data.Streamed, e encodedRow) {
	l.stats.Count(e.counts)
	l.stats.Record(row.Number, e.verdict)
}

// cacheTokens limits the encoded text that a Loader caches.
const cacheTokens = 1 << 24

// sampleCache keeps encoded samples by row, for the next epochs.
type sampleCache struct {
	mu     sync.Mutex
	rows   map[int][]*packing.Sample
	tokens int
}

func (c *sampleCache) get(row int) ([]*packing.Sample, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	samples, ok := c.rows[row]
	return samples, ok
}

func (c *sampleCache) add(row int, samples []*packing.Sample) {
	tokens := 0
	for _, s := range samples {
		tokens += s.Len()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens+tokens > cacheTokens {
		return
	}
	if c.rows == nil {
		c.rows = map[int][]*packing.Sample{}
	}
	c.rows[row] = samples
	c.tokens += tokens
}
