package hub

import "container/list"

// recentBlocks are the blocks in memory, the least recently used last. A block is read in many
// small parts, each of which would verify it again.
type recentBlocks struct {
	limit, used int64 // bytes
	unread      int64 // of them, in blocks that were fetched ahead and not read yet
	blocks      map[blockID]*list.Element
	order       *list.List // of *recentBlock
}

type recentBlock struct {
	blockID
	data   []byte
	unread bool
}

func newRecentBlocks(limit int64) *recentBlocks {
	return &recentBlocks{limit: limit, blocks: map[blockID]*list.Element{}, order: list.New()}
}

func (r *recentBlocks) has(id blockID) bool { return r.blocks[id] != nil }

// get returns a block, or nil.
func (r *recentBlocks) get(id blockID) []byte {
	at := r.blocks[id]
	if at == nil {
		return nil
	}
	r.order.MoveToFront(at)
	block := at.Value.(*recentBlock)
	r.read(block)
	return block.data
}

func (r *recentBlocks) read(b *recentBlock) {
	if b.unread {
		b.unread = false
		r.unread -= int64(len(b.data))
	}
}

// add adds a block and drops the least recently used ones beyond the limit.
func (r *recentBlocks) add(id blockID, data []byte, unread bool) {
	if r.has(id) {
		return
	}
	r.blocks[id] = r.order.PushFront(&recentBlock{id, data, unread})
	r.used += int64(len(data))
	if unread {
		r.unread += int64(len(data))
	}
	for r.used > r.limit && r.order.Len() > 1 {
		last := r.order.Remove(r.order.Back()).(*recentBlock)
		r.read(last)
		r.used -= int64(len(last.data))
		delete(r.blocks, last.blockID)
	}
}
