package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// Batch generates the answers of several sequences at once, one token of each in every step. Sequences
// join and leave between tokens. Their keys and values are in pages, and sequences that begin in the same
// way share those of their beginning (Kwon et al., "Efficient memory management for large language model
// serving with PagedAttention", 2023). A Batch is not for concurrent use.
type Batch struct {
	*vlm.Runner
	BatchOptions

	media    *Generator // encodes images and sound
	cache    *vlm.PagedCache
	pool     *pagePool
	rope     []*engine.Buffer
	memories []engine.Memory
	passes   map[batchPass]*pass
	vectors  *vlm.Vectors // that the passes read

	prompts []*Sequence // in the order in which they came; the first is being read
	answers []*Sequence // a token of each in every step
}

// BatchOptions are the sizes of a Batch.
type BatchOptions struct {
	Sequences   int // at once
	Context     int // most tokens of a sequence, prompt and answer
	CacheTokens int // tokens of all sequences in the cache, at least Context; 0 = Sequences·Context
}

// ErrNoRoom reports that a sequence has to wait until others have ended.
var ErrNoRoom = errors.New("all places for sequences, or all pages of the key/value cache, are in use")

// Sequence is a prompt and its answer in a Batch. Result and Err are valid when Done.
type Sequence struct {
	Result Result
	Err    error
	Done   bool

	sequence          // prompt and answer
	o        Options  //
	sampler  *sampler // nil: greedy
	layout   *packing.Batch
	total    int       // most tokens
	toRead   int       // tokens to read before the next is chosen, in layout
	pages    []int     // of the cache; none before reading begins
	keys     []pageKey // of complete pages
	at       int       // tokens in the cache
	started  time.Time // of the prompt, then of the answer
	observed *observed // nil: an answer is generated
}

// NewBatch returns an empty batch. Close releases its memory.
func NewBatch(r *vlm.Runner, o BatchOptions) (*Batch, error) {
	if limit := r.Config.Text.MaxPositionEmbeddings; o.Context == 0 || o.Context > limit {
		o.Context = limit
	}
	if o.CacheTokens == 0 {
		o.CacheTokens = o.Sequences * roundUp(o.Context, vlm.PageRows)
	}
	o.CacheTokens = max(o.CacheTokens, roundUp(o.Context, vlm.PageRows))
	b := &Batch{Runner: r, BatchOptions: o, media: New(r), passes: map[batchPass]*pass{}}
	var err error
	if b.cache, err = vlm.NewPagedCache(r.Model, o.CacheTokens/vlm.PageRows); err != nil {
		return nil, err
	}
	b.pool, b.rope = newPagePool(b.cache.Pages), ropeBuffers(r.Model, roundUp(o.Context, keyTile))
	if b.memories, err = engine.Allocate(r.Device, "the key/value cache", slices.Concat(b.cache.Buffers, b.rope)...); err != nil {
		return nil, err
	}
	for i, kind := range r.Config.Text.AttentionKinds() {
		err = errors.Join(err, engine.Upload(r.Device, b.rope[i].View(), kind.RoPETable(roundUp(o.Context, keyTile))))
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close releases the cache and the programs. Sequences that are not done never will be.
func (b *Batch) Close() {
	b.freePasses()
	for _, s := range b.prompts {
		s.observed.free()
	}
	b.media.Close()
	engine.Free(b.memories)
	b.memories, b.prompts, b.answers = nil, nil, nil
}

// Len is the number of sequences that are not done.
func (b *Batch) Len() int { return len(b.prompts) + len(b.answers) }

// CacheUse is the part of the key/value cache's pages that sequences use.
func (b *Batch) CacheUse() float64 { return float64(b.pool.used()) / float64(b.cache.Pages) }

// Start adds a sequence as Generate would continue it, or returns ErrNoRoom, or why it can never be
// continued.
func (b *Batch) Start(prompt chat.Tokens, images [][]byte, o Options) (*Sequence, error) {
	s, err := b.newSequence(prompt, images, o)
	if err != nil {
		return nil, err
	}
	return s, b.add(s)
}

// newSequence returns a sequence that is not in the batch yet.
func (b *Batch) newSequence(prompt chat.Tokens, images [][]byte, o Options) (*Sequence, error) {
	n := len(prompt.IDs)
	switch {
	case n == 0:
		return nil, errors.New("the prompt is empty")
	case n >= b.Context:
		return nil, &ContextError{n, o.MaxNewTokens, b.Context}
	case len(images) != len(prompt.Images):
		return nil, fmt.Errorf("%d images given, the prompt has %d", len(images), len(prompt.Images))
	}
	if err := b.media.checkClips(prompt, o.Clips); err != nil {
		return nil, err
	}
	if prompt.Grids == nil {
		prompt.Grids = slices.Repeat([]chat.Grid{b.Config.Vision.SquareGrid()}, len(images))
	}
	s := &Sequence{
		sequence: newSequence(prompt, images, b.media.frames(o.Clips)), o: o, sampler: o.sampler(prompt.IDs, b.Processor.NeverGenerated()),
		total: min(n+o.MaxNewTokens, b.Context), Result: Result{PromptTokens: n, Finish: "length"}, started: time.Now(),
	}
	s.ids = slices.Clone(s.ids)
	return s, nil
}

// add adds a sequence, or returns ErrNoRoom.
func (b *Batch) add(s *Sequence) error {
	need := pagesOf(len(s.ids))
	for _, before := range b.prompts {
		need += pagesOf(len(before.ids)) - len(before.pages)
	}
	if b.Len() >= b.Sequences || need > b.pool.available() {
		return ErrNoRoom
	}
	if err := b.layOut(s); err != nil {
		return err
	}
	b.prompts = append(b.prompts, s)
	return nil
}

// pagesOf is the number of pages of some tokens.
func pagesOf(tokens int) int { return roundUp(tokens, vlm.PageRows) / vlm.PageRows }

// layOut makes a sequence ready to be read.
func (b *Batch) layOut(s *Sequence) (err error) {
	s.toRead = len(s.ids)
	s.layout, err = b.media.layOut(s.sequence)
	return err
}

// Cancel ends a sequence that is not done, with an error.
func (b *Batch) Cancel(s *Sequence, err error) {
	if !s.Done {
		s.end(err)
		b.sweep()
	}
}

// end marks a sequence as done.
func (s *Sequence) end(err error) {
	s.Done, s.Err, s.Result.Decode = true, err, time.Since(s.started)
}

// sweep removes sequences that are done.
func (b *Batch) sweep() {
	done := func(s *Sequence) bool {
		if s.Done {
			b.pool.release(s.pages)
			s.pages = nil
			s.observed.free()
		}
		return s.Done
	}
	b.prompts, b.answers = slices.DeleteFunc(b.prompts, done), slices.DeleteFunc(b.answers, done)
}

// Step reads a piece of the first prompt, and generates a token of every answer. An error is the device's;
// the batch is of no use after it.
func (b *Batch) Step(ctx context.Context) error {
	defer b.sweep()
	if len(b.prompts) > 0 {
		if err := b.read(ctx, b.prompts[0]); err != nil {
			return err
		}
		b.sweep()
	}
	if len(b.answers) == 0 {
		return nil
	}
	return b.generate(ctx)
}

// read runs a piece of a prompt through the decoder, and chooses the first token of the answer after the
// last piece.
func (b *Batch) read(ctx context.Context, s *Sequence) error {
	if s.pages == nil {
		if !b.place(s) {
			return nil // until an answer ends
		}
		if err := b.encode(ctx, s); errors.Is(err, engine.ErrOutOfMemory) {
			s.end(err) // the others need no more than they have
			return nil
		} else if err != nil {
			return err
		}
	}
	if s.observed != nil && s.at >= s.observed.first {
		return b.observe(ctx, s)
	}
	end := b.pieceEnd(s)
	p, err := b.runPiece(ctx, s, end)
	if err != nil {
		return err
	}
	if s.advance(b.pool, end); end < s.toRead {
		return nil
	}
	b.prompts, b.answers = b.prompts[1:], append(b.answers, s)
	if len(s.Result.IDs) == 0 {
		s.Result.Prefill, s.started = time.Since(s.started), time.Now()
	}
	if s.total == s.Result.PromptTokens {
		s.end(nil)
		return nil
	}
	return b.choose(p, []*Sequence{s})
}

// place finds the pages with the beginning of a sequence, and takes others for the rest; false: there are
// too few. The first have no token whose outputs are needed.
func (b *Batch) place(s *Sequence) bool {
	keys := s.pageKeys(nil)
	var shared []int
	for _, key := range keys[:min(len(keys), s.needed()/vlm.PageRows)] {
		page, ok := b.pool.share(key)
		if !ok {
			break
		}
		shared = append(shared, page)
	}
	n := len(shared)
	for at := -1; at != n*vlm.PageRows; n = at / vlm.PageRows {
		at = b.media.imageBoundary(s.sequence, n*vlm.PageRows)
	}
	b.pool.release(shared[n:]) // an image is read again as a whole
	more := pagesOf(len(s.ids)) - n
	if more > b.pool.available() {
		b.pool.release(shared[:n])
		return false
	}
	s.pages = append(shared[:n:n], b.pool.take(more)...)
	s.at, s.keys = n*vlm.PageRows, keys[:n:n]
	if len(s.Result.IDs) == 0 {
		s.Result.CachedTokens = s.at
	}
	return true
}

// encode computes the vectors of a sequence's images and sound that are to be read.
func (b *Batch) encode(ctx context.Context, s *Sequence) error {
	fresh := s.fresh(s.at)
	err := b.media.encode(ctx, fresh)
	if b.vectors != b.media.vectors { // after an error too
		b.freePasses()
		b.vectors = b.media.vectors
	}
	if err == nil {
		fresh.placeSlots(s.layout)
	}
	return err
}

// advance records that tokens before end are in the cache.
func (s *Sequence) advance(pool *pagePool, end int) {
	s.at = end
	cached := s.sequence
	cached.ids = s.ids[:end]
	first := len(s.keys)
	s.keys = cached.pageKeys(s.keys)
	for i, key := range s.keys[first:] {
		pool.complete(s.pages[first+i], key)
	}
}

// generate runs the last token of every answer through the decoder, and chooses the next.
func (b *Batch) generate(ctx context.Context) error {
	for i := 0; i < len(b.answers); {
		if s := b.answers[i]; len(s.pages) == pagesOf(len(s.ids)) {
			i++
		} else if b.pool.available() > 0 {
			s.pages = append(s.pages, b.pool.take(1)...)
		} else if err := b.postpone(b.answers[len(b.answers)-1]); err != nil {
			return err
		}
	}
	if len(b.answers) == 0 {
		return nil
	}
	p, err := b.runTokens(ctx, b.answers)
	if err != nil {
		return err
	}
	for _, s := range b.answers {
		s.advance(b.pool, len(s.ids))
	}
	return b.choose(p, b.answers)
}

// postpone gives the pages of the last answer to the others. It is read again as soon as there is room,
// after a prompt that has its pages already.
func (b *Batch) postpone(s *Sequence) error {
	b.pool.release(s.pages)
	s.pages = nil
	b.answers = b.answers[:len(b.answers)-1]
	at := 0
	if len(b.prompts) > 0 && b.prompts[0].pages != nil {
		at = 1
	}
	b.prompts = slices.Insert(b.prompts, at, s)
	return b.layOut(s)
}

// choose chooses the next token of sequences, whose logits are the rows of a pass.
func (b *Batch) choose(p *pass, of []*Sequence) error {
	ids := make([]int32, len(of))
	var logits []float32
	columns := p.logits.Cols()
	if slices.ContainsFunc(of, func(s *Sequence) bool { return s.sampler != nil }) {
		logits = make([]float32, len(of)*columns)
		if err := engine.FetchTemp(b.Device, p.exe, p.logits.View(), logits); err != nil { // with the next read: in a browser each wait takes milliseconds
			return err
		}
	}
	if err := engine.DownloadTemp(b.Device, p.exe, p.argmax.View(), ids); err != nil {
		return err
	}
	never := b.Processor.NeverGenerated()
	for i, s := range of {
		next, sampler := Token{ID: ids[i]}, s.sampler
		if sampler == nil && (ids[i] < 0 || slices.Contains(never, ids[i])) {
			sampler = Sampling{}.newSampler(nil, never)
		}
		var err error
		if sampler != nil {
			if logits == nil {
				logits = make([]float32, len(of)*columns)
				if err := engine.DownloadTemp(b.Device, p.exe, p.logits.View(), logits); err != nil {
					return err
				}
			}
			next, err = sampler.token(logits[i*columns:][:b.Config.Text.VocabSize])
		}
		if errors.Is(err, errNotFinite) {
			err = b.discard(s)
		}
		if err != nil {
			s.end(err)
			continue
		}
		s.accept(b.Processor, next)
	}
	return nil
}

// discard clears the pages of a sequence with values that are not finite, of which no other may read any,
// and returns the sequence's error.
func (b *Batch) discard(s *Sequence) error {
	var own []int
	for _, page := range s.pages {
		if b.pool.users[page] == 1 {
			b.pool.forget(page)
			own = append(own, page)
		}
	}
	return errors.Join(&NotFiniteError{len(s.ids)}, b.cache.Clear(b.Device, own))
}

// accept adds a token to an answer, which may end with it.
func (s *Sequence) accept(proc *vlm.Processor, next Token) {
	more := s.o.Token == nil || s.o.Token(next)
	if proc.IsEOS(next.ID) {
		s.Result.Finish = "stop"
		s.end(nil)
		return
	}
	s.Result.IDs, s.ids = append(s.Result.IDs, next.ID), append(s.ids, next.ID)
	switch {
	case !more:
		s.Result.Finish = "stop"
		s.end(nil)
	case len(s.ids) >= s.total:
		s.end(nil)
	}
}
