package loader

import (
	"bytes"
	"context"
	"encoding/gob"

	"golang.org/x/sync/errgroup"

	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

// Batch is a micro-batch with its pixels and its frames of sound.
type Batch struct {
	*packing.Batch
	Pixels []byte // [images, S, S, C]
	Tokens int    // without padding
	// Samples are the packed samples of each row, to map results back to them.
	Samples [][]*packing.Sample
}

// Step is the micro-batches of a rank for an optimizer step.
type Step struct {
	Batches []*Batch // at least one, which may be all padding
	Targets int      // of all of them
	Next    Cursor   // after the step
	// Progress is the number of epochs read up to the end of the step, from 0.
	Progress float64
	Last     bool // of the recipe's epochs
}

// packedRow is a packed row of the epoch, by its number, with what is needed to train on it.
type packedRow struct {
	Number  int
	Samples []*packing.Sample
	rows    map[int]*data.Row // by number
}

// assembler makes steps of the packed rows of an epoch.
type assembler struct {
	l       *Loader
	epoch   int
	skip    int // packed rows that are passed over
	use     func(*Step) bool
	packed  int // packed rows of the epoch up to the last pool
	rows    []packedRow
	marks   []mark
	targets int
}

// mark says how far the data is read after a packed row.
type mark struct {
	packed   int
	position float64 // fraction of the epoch
}

// add adds the packed rows of a pool that this rank trains on, and passes complete steps on. It
// returns false when use did.
func (a *assembler) add(ctx context.Context, p *pool, length int) (more bool, err error) {
	if a.marks == nil {
		a.packed = p.start.Packed
		a.marks = []mark{{a.packed, float64(p.start.Position) / float64(length)}}
	}
	var plan []packedPlan
	for _, b := range a.l.schedule.Pack(a.epoch, p.start.Pool, p.lengths) {
		if a.packed >= a.skip {
			plan = append(plan, packedPlan{a.packed, a.rank(a.packed), b[0]})
		}
		a.packed++
	}
	a.marks = append(a.marks, mark{a.packed, float64(p.end) / float64(length)})
	rows, err := a.l.distribute(ctx, p, plan)
	if err != nil {
		return false, err
	}
	a.rows = append(a.rows, rows...)
	return a.flush(ctx, a.packed/a.l.stepRows()*a.l.stepRows())
}

// finish passes on what is left at the end of the epoch: a step with fewer rows.
func (a *assembler) finish(ctx context.Context) (more bool, err error) { return a.flush(ctx, a.packed) }

// rank returns the rank that trains on a packed row.
func (a *assembler) rank(row int) int {
	return row % a.l.stepRows() / (a.l.BatchSize * a.l.Accumulate)
}

// flush passes on the steps with the packed rows before end.
func (a *assembler) flush(ctx context.Context, end int) (more bool, err error) {
	for a.skip < end {
		next := min((a.skip/a.l.stepRows()+1)*a.l.stepRows(), end)
		n := 0
		for n < len(a.rows) && a.rows[n].Number < next {
			n++
		}
		s, err := a.step(ctx, a.rows[:n], next)
		if err != nil {
			return false, err
		}
		a.rows, a.skip = a.rows[n:], next
		a.targets += s.Targets
		if err := a.l.stats.Check(a.l.MaxBadFraction, false); err != nil {
			return false, err
		}
		if !a.use(s) {
			return false, nil
		}
	}
	return true, nil
}

// step builds the step that ends before packed row next from this rank's rows.
func (a *assembler) step(ctx context.Context, rows []packedRow, next int) (*Step, error) {
	s := &Step{Next: Cursor{Epoch: a.epoch, Row: next}, Progress: float64(a.epoch) + a.read(next)}
	size := a.l.BatchSize
	for lo := 0; lo < len(rows) || lo == 0; lo += size {
		b, err := a.l.build(ctx, a.epoch, rows[lo:min(lo+size, len(rows))])
		if err != nil {
			return nil, err
		}
		s.Batches = append(s.Batches, b)
		s.Targets += b.TargetCount
	}
	return s, nil
}

// read returns the fraction of the epoch that is read after a number of packed rows.
func (a *assembler) read(packed int) float64 {
	for len(a.marks) > 2 && a.marks[1].packed < packed {
		a.marks = a.marks[1:]
	}
	from, to := a.marks[0], a.marks[1]
	if to.packed <= from.packed {
		return to.position
	}
	return from.position + (to.position-from.position)*float64(packed-from.packed)/float64(to.packed-from.packed)
}

// packedPlan assigns a packed row of a pool to a rank.
type packedPlan struct {
	number  int
	rank    int
	samples []int // of the pool
}

// sentRows is what a rank sends to another: samples of packed rows, by the number of the packed
// row and the place in it, and the rows of the dataset with their images.
type sentRows struct {
	Samples []sentSample
	Rows    map[int]sentRow
}

// sentRow is a row; gob does not tell null images from empty ones.
type sentRow struct {
	data.Row
	Null      []int // indices of images
	NullClips []int
}

func sendRow(r data.Row) sentRow { return sentRow{r, nulls(r.Images), nulls(r.Clips)} }

// nulls returns the indices of null files.
func nulls(files [][]byte) (out []int) {
	for i, file := range files {
		if file == nil {
			out = append(out, i)
		}
	}
	return out
}

func (s sentRow) row() *data.Row {
	for _, i := range s.Null {
		s.Images[i] = nil
	}
	for _, i := range s.NullClips {
		s.Clips[i] = nil
	}
	return &s.Row
}

type sentSample struct {
	Packed, Place int
	Sample        *packing.Sample
}

// distribute returns the packed rows of a plan that this rank trains on, in order. Samples that
// other ranks have are sent by them.
func (l *Loader) distribute(ctx context.Context, p *pool, plan []packedPlan) ([]packedRow, error) {
	var out []packedRow
	to := make([]sentRows, l.Part.ranks())
	for _, row := range plan {
		kept := packedRow{Number: row.number, Samples: make([]*packing.Sample, len(row.samples)), rows: map[int]*data.Row{}}
		for place, k := range row.samples {
			ref := &p.samples[k]
			switch {
			case ref.owner != l.Part.Rank:
			case row.rank == l.Part.Rank:
				kept.Samples[place], kept.rows[ref.number] = ref.sample, ref.row
			default:
				s := &to[row.rank]
				if s.Rows == nil {
					s.Rows = map[int]sentRow{}
				}
				s.Samples = append(s.Samples, sentSample{row.number, place, ref.sample})
				s.Rows[ref.number] = sendRow(*ref.row)
			}
		}
		if row.rank == l.Part.Rank {
			out = append(out, kept)
		}
	}
	if l.Part.ranks() == 1 {
		return out, nil
	}
	return out, l.exchangeRows(ctx, to, out)
}

// exchangeRows sends rows to the ranks that train on them and adds those that come from others.
func (l *Loader) exchangeRows(ctx context.Context, to []sentRows, out []packedRow) error {
	messages := make([][]byte, len(to))
	for r := range to {
		var buffer bytes.Buffer
		if err := gob.NewEncoder(&buffer).Encode(to[r]); err != nil {
			return err
		}
		messages[r] = buffer.Bytes()
	}
	got, err := l.Part.Exchange.AllToAll(ctx, messages)
	if err != nil {
		return err
	}
	place := map[int]int{} // in out, by the packed row's number
	for i, row := range out {
		place[row.Number] = i
	}
	for r, message := range got {
		if r == l.Part.Rank {
			continue
		}
		var sent sentRows
		if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&sent); err != nil {
			return err
		}
		for _, s := range sent.Samples {
			row := &out[place[s.Packed]]
			row.Samples[s.Place], row.rows[s.Sample.Row] = s.Sample, sent.Rows[s.Sample.Row].row()
		}
	}
	return nil
}

// build decodes the images and the sound of packed rows of an epoch, drops samples with a file that
// cannot be decoded, and lays the rest out as a micro-batch.
func (l *Loader) build(ctx context.Context, epoch int, rows []packedRow) (*Batch, error) {
	files, err := l.decode(ctx, epoch, rows)
	if err != nil {
		return nil, err
	}
	kept := make([][]*packing.Sample, len(rows))
	for i, row := range rows {
		for _, s := range row.Samples {
			if files[s.Row] != nil {
				kept[i] = append(kept[i], s)
			}
		}
	}
	b, err := packing.Build(packing.Shape{Rows: l.BatchSize, T: l.SeqLen, Patches: l.Vision.Patches()}, l.Modes, kept)
	if err != nil {
		return nil, err
	}
	out := &Batch{Batch: b, Samples: kept}
	out.Pixels = make([]byte, 0, len(b.PatchGrid)/2*l.Vision.Features())
	for _, p := range b.Images {
		out.Pixels = append(out.Pixels, files[p.Row].Images[p.Image]...)
	}
	for _, c := range b.Clips {
		b.Frames = append(b.Frames, l.Audio.Frames(files[c.Row].Clips[c.Clip])...)
	}
	for _, s := range b.Segments {
		if s >= 0 {
			out.Tokens++
		}
	}
	return out, nil
}

// decode returns the prepared images and sound of an epoch by row of the dataset, nil for a row with
// a bad one.
func (l *Loader) decode(ctx context.Context, epoch int, rows []packedRow) (map[int]*data.Prepared, error) {
	var order []int
	all, from := map[int]*data.Prepared{}, map[int]*data.Row{}
	for _, row := range rows {
		for _, s := range row.Samples {
			if _, seen := all[s.Row]; !seen {
				order, all[s.Row], from[s.Row] = append(order, s.Row), nil, row.rows[s.Row]
			}
		}
	}
	prepared, verdicts := make([]*data.Prepared, len(order)), make([]data.Verdict, len(order))
	var group errgroup.Group
	group.SetLimit(l.Workers)
	for i, n := range order {
		group.Go(func() error {
			if ctx.Err() == nil {
				prepared[i], verdicts[i] = l.prepare(epoch, from[n], n)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	entries := make([]data.IndexEntry, len(order))
	for i, n := range order { // recorded in the order of the data, not of completion
		l.stats.Record(n, verdicts[i])
		entries[i] = data.IndexEntry{Row: n, Reason: verdicts[i].Reason}
		if verdicts[i].Status == data.Use {
			all[n], entries[i].Images = prepared[i], verdicts[i].Images
		}
	}
	l.sizes = append(l.sizes, entries...)
	return all, nil
}

// prepare decodes the images and the sound of a row, by its number in the dataset, for an epoch.
func (l *Loader) prepare(epoch int, row *data.Row, number int) (*data.Prepared, data.Verdict) {
	p, verdict := data.Prepare(*row, media(l.Vision, l.Audio))
	if verdict.Status != data.Use {
		return nil, verdict
	}
	if l.flips(epoch, row, number) {
		for i, pixels := range p.Images {
			if err := l.mirror(pixels, p.Sizes[i]); err != nil {
				return nil, row.Skip(err.Error())
			}
		}
	}
	if l.Perturb {
		l.perturb(epoch, number, p.Clips)
	}
	return &p, verdict
}
