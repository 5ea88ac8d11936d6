package hub

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	recentBytes    = 64 << 20  // of blocks in memory
	disklessBytes  = 256 << 20 // the same without a cache on disk: columns are read twice
	minAheadBytes  = 16 << 20
	maxAheadBytes  = 2 << 30 // of blocks that are requested and not yet there
	maxBatch       = 4       // blocks of a request ahead
	sequentialRead = 2       // blocks that are read ahead when blocks are read in order
)

// blockID names a block of a file.
type blockID struct {
	file  *RemoteFile
	index int64
}

func (id blockID) bytes() int64 {
	from, to := id.file.layout.bounds(id.index)
	return to - from
}

// blockFetch is a block that is on its way.
type blockFetch struct {
	blockID
	done chan struct{} // closed when data or err is set
	data []byte
	err  error

	ahead    bool // requested before it was needed
	demanded bool // a reader waits for it
	started  bool
}

// blockReader reads blocks from memory, from disk or from the hub: each once, however many
// readers want it, those that a reader waits for first.
type blockReader struct {
	stream *Stream
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	downloaded, cached, requests atomic.Int64

	mu           sync.Mutex
	closed       bool
	workers      int // goroutines, at most one for each connection
	aheadWorkers int // of them, those that fetch ahead
	pending      map[blockID]*blockFetch
	demand       []*blockFetch // queue
	ahead        []*blockFetch // queue
	aheadBytes   int64         // of all pending fetches ahead
	recent       *recentBlocks
}

func newBlockReader(ctx context.Context, s *Stream) *blockReader {
	b := &blockReader{stream: s, pending: map[blockID]*blockFetch{}, recent: newRecentBlocks(recentBytes)}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// close ends all fetches and waits for their goroutines.
func (b *blockReader) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
}

// errLookAgain ends a fetch whose block turned out to be on disk.
var errLookAgain = errors.New("the block is on disk")

// get returns a block, which must not be modified.
func (b *blockReader) get(ctx context.Context, id blockID) ([]byte, error) {
	for {
		f, data := b.find(id)
		if data != nil {
			return data, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.ctx.Done():
			return nil, b.ctx.Err()
		}
		if f.err != errLookAgain {
			return f.data, f.err
		}
	}
}

// find returns a block that is in memory or on disk, else its fetch.
func (b *blockReader) find(id blockID) (*blockFetch, []byte) {
	b.mu.Lock()
	if data := b.recent.get(id); data != nil {
		b.mu.Unlock()
		return nil, data
	}
	if f := b.pending[id]; f != nil {
		b.hurry(f)
		b.mu.Unlock()
		return f, nil
	}
	f := &blockFetch{blockID: id, done: make(chan struct{}), demanded: true}
	b.pending[id] = f
	b.mu.Unlock()
	data := make([]byte, id.bytes())
	if b.stream.cache.Get(id.file.blockKey(id.index), data) {
		b.cached.Add(int64(len(data)))
		b.mu.Lock()
		b.settle(f, data, nil)
		b.mu.Unlock()
		return nil, data
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.demand = append(b.demand, f)
	b.startWorker()
	if b.recent.has(blockID{id.file, id.index - 1}) {
		b.queueAhead(id.file, id.index+1, id.index+sequentialRead)
	}
	return f, nil
}

// hurry moves a fetch ahead to those that a reader waits for. b.mu is held.
func (b *blockReader) hurry(f *blockFetch) {
	if f.demanded {
		return
	}
	f.demanded = true
	if i := slices.Index(b.ahead, f); i >= 0 {
		b.ahead = slices.Delete(b.ahead, i, i+1)
		b.demand = append(b.demand, f)
		b.startWorker()
	}
}

// prefetch queues the blocks first to last of a file.
func (b *blockReader) prefetch(file *RemoteFile, first, last int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queueAhead(file, first, last)
}

// aheadLimit returns the number of bytes that may be on their way, and sets that of the blocks in
// memory: without a cache on disk, blocks that were fetched ahead wait there. b.mu is held.
func (b *blockReader) aheadLimit() int64 {
	if !b.stream.cache.Usable() {
		b.recent.limit = disklessBytes
		return disklessBytes / 4
	}
	b.recent.limit = recentBytes
	return max(minAheadBytes, min(b.stream.o.CacheBytes/4, maxAheadBytes))
}

func (b *blockReader) queueAhead(file *RemoteFile, first, last int64) {
	limit := b.aheadLimit()
	for i := max(first, 0); i <= last && i <= file.layout.index(file.file.Size-1); i++ {
		id := blockID{file, i}
		if b.pending[id] != nil || b.recent.has(id) {
			continue
		}
		if b.aheadBytes+b.recent.unread+id.bytes() > limit {
			return
		}
		f := &blockFetch{blockID: id, done: make(chan struct{}), ahead: true}
		b.pending[id] = f
		b.aheadBytes += id.bytes()
		b.ahead = append(b.ahead, f)
		b.startWorker()
	}
}

// startWorker starts a goroutine if there may be another. b.mu is held.
func (b *blockReader) startWorker() {
	if b.closed || b.workers >= b.stream.o.Connections {
		return
	}
	b.workers++
	b.wg.Go(b.work)
}

// work fetches blocks until none is wanted.
func (b *blockReader) work() {
	for {
		batch, ahead := b.next()
		if batch == nil {
			return
		}
		for len(batch) > 0 {
			n := b.skipStored(batch)
			if batch = batch[n:]; len(batch) > 0 {
				n = b.contiguous(batch)
				b.fetch(batch[:n])
				batch = batch[n:]
			}
		}
		if ahead {
			b.mu.Lock()
			b.aheadWorkers--
			b.mu.Unlock()
		}
	}
}

// next returns the blocks of the next request, or nil, which ends the worker. Some connections
// are left to blocks that a reader waits for.
func (b *blockReader) next() (batch []*blockFetch, ahead bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch most := max(1, b.stream.o.Connections*3/4); {
	case b.ctx.Err() != nil:
	case len(b.demand) > 0:
		batch, b.demand = b.demand[:1:1], b.demand[1:]
	case len(b.ahead) > 0 && b.aheadWorkers < most:
		n := min(b.contiguous(b.ahead), maxBatch)
		batch, b.ahead, ahead = b.ahead[:n:n], b.ahead[n:], true
		b.aheadWorkers++
	}
	for _, f := range batch {
		f.started = true
	}
	if batch == nil {
		b.workers--
	}
	return batch, ahead
}

// contiguous returns how many of the first fetches are of adjacent blocks.
func (b *blockReader) contiguous(queue []*blockFetch) int {
	n := 1
	for n < len(queue) && queue[n].file == queue[0].file && queue[n].index == queue[0].index+int64(n) {
		n++
	}
	return n
}

// skipStored settles the first fetches ahead whose blocks are on disk, and returns their number.
func (b *blockReader) skipStored(batch []*blockFetch) int {
	for i, f := range batch {
		if !f.ahead || !b.stream.cache.Has(f.file.blockKey(f.index)) {
			return i
		}
		b.mu.Lock()
		b.settle(f, nil, errLookAgain)
		b.mu.Unlock()
	}
	return len(batch)
}

// fetch requests adjacent blocks of a file.
func (b *blockReader) fetch(batch []*blockFetch) {
	file := batch[0].file
	_, end := file.layout.bounds(batch[len(batch)-1].index)
	var data []byte // the part of batch[0] that has arrived
	err := b.stream.retry(b.ctx, file, func() (n int64, err error) {
		start, _ := file.layout.bounds(batch[0].index)
		err = b.stream.readRange(b.ctx, file, start+int64(len(data)), end, func(r io.Reader) error {
			for len(batch) > 0 {
				if data == nil {
					data = make([]byte, 0, batch[0].bytes())
				}
				got, err := io.ReadFull(r, data[len(data):batch[0].bytes()])
				data = data[:len(data)+got]
				n += int64(got)
				b.downloaded.Add(int64(got))
				if err != nil {
					return err
				}
				b.store(batch[0], data)
				batch, data = batch[1:], nil
			}
			return nil
		})
		return n, err
	})
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range batch {
		b.settle(f, nil, err)
	}
}

// store passes a block on to its readers and writes it to disk. A reader is served first.
func (b *blockReader) store(f *blockFetch, data []byte) {
	b.mu.Lock()
	waiting := f.demanded
	if waiting {
		b.settle(f, data, nil)
	}
	b.mu.Unlock()
	stored := b.stream.cache.Put(f.file.blockKey(f.index), data)
	if waiting {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !stored && !f.demanded {
		b.recent.add(f.blockID, data, true)
	}
	b.settle(f, data, nil)
}

// settle ends a fetch. b.mu is held.
func (b *blockReader) settle(f *blockFetch, data []byte, err error) {
	f.data, f.err = data, err
	if data != nil && f.demanded {
		b.recent.add(f.blockID, data, false)
	}
	if f.ahead {
		b.aheadBytes -= f.bytes()
	}
	delete(b.pending, f.blockID)
	close(f.done)
}
