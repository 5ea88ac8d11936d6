package generate

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"patchwork/vlm"
)

// pageKey identifies the tokens of a page with all before them, images and sound included. The zero
// pageKey is of a page that is not complete.
type pageKey [sha256.Size]byte

// pageKeys returns the keys of the complete pages of a sequence, from the page after the given keys on.
func (s sequence) pageKeys(keys []pageKey) []pageKey {
	for n := len(keys); (n+1)*vlm.PageRows <= len(s.ids); n++ {
		var before pageKey
		if n > 0 {
			before = keys[n-1]
		}
		keys = append(keys, s.pageKey(n, before))
	}
	return keys
}

// pageKey is the key of page n after those with the key before.
func (s sequence) pageKey(n int, before pageKey) (key pageKey) {
	first, end := n*vlm.PageRows, (n+1)*vlm.PageRows
	h := sha256.New()
	h.Write(before[:])
	binary.Write(h, binary.LittleEndian, s.ids[first:end])
	for i := s.imagesBefore(first); i < s.imagesBefore(end); i++ {
		content := sha256.Sum256(s.pixels[i])
		binary.Write(h, binary.LittleEndian, []int64{int64(s.images[i]), int64(s.grids[i].Rows), int64(s.grids[i].Cols)})
		h.Write(content[:])
	}
	for i := s.clipsBefore(first); i < s.clipsBefore(end); i++ {
		binary.Write(h, binary.LittleEndian, []int64{int64(s.clips[i].Start), int64(s.clips[i].Tokens)})
		binary.Write(h, binary.LittleEndian, s.frames[i])
	}
	return pageKey(h.Sum(nil))
}

// pagePool is the pages of a cache: in use by some sequences, idle with keys and values that a sequence
// may use again, or free.
type pagePool struct {
	users  []int // sequences that use a page
	keys   []pageKey
	byKey  map[pageKey]int
	free   []int
	idle   *list.List // pages, the least recently used first
	inIdle []*list.Element
}

func newPagePool(pages int) *pagePool {
	p := &pagePool{users: make([]int, pages), keys: make([]pageKey, pages), byKey: map[pageKey]int{}, idle: list.New(), inIdle: make([]*list.Element, pages)}
	for page := range pages {
		p.free = append(p.free, page)
	}
	return p
}

// available is the number of pages that take can return.
func (p *pagePool) available() int { return len(p.free) + p.idle.Len() }

// used is the number of pages in use.
func (p *pagePool) used() int { return len(p.users) - p.available() }

// take returns n pages of the available ones.
func (p *pagePool) take(n int) (pages []int) {
	for range n {
		if len(p.free) == 0 {
			page := p.idle.Front().Value.(int)
			p.leaveIdle(page)
			p.forget(page)
			p.free = append(p.free, page)
		}
		page := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.users[page] = 1
		pages = append(pages, page)
	}
	return pages
}

// share returns the page with a key, for one more sequence.
func (p *pagePool) share(key pageKey) (page int, ok bool) {
	if page, ok = p.byKey[key]; !ok {
		return 0, false
	}
	p.leaveIdle(page)
	p.users[page]++
	return page, true
}

// complete gives a page in use its key, unless another page has it.
func (p *pagePool) complete(page int, key pageKey) {
	if _, ok := p.byKey[key]; !ok && p.keys[page] == (pageKey{}) {
		p.keys[page], p.byKey[key] = key, page
	}
}

// release ends the use of pages by a sequence, whose last are to be reused first.
func (p *pagePool) release(pages []int) {
	for _, page := range slices.Backward(pages) {
		switch p.users[page]--; {
		case p.users[page] > 0:
		case p.keys[page] == (pageKey{}):
			p.free = append(p.free, page)
		default:
			p.inIdle[page] = p.idle.PushBack(page)
		}
	}
}

// forget makes a page's contents unknown.
func (p *pagePool) forget(page int) {
	delete(p.byKey, p.keys[page])
	p.keys[page] = pageKey{}
}

func (p *pagePool) leaveIdle(page int) {
	if p.inIdle[page] != nil {
		p.idle.Remove(p.inIdle[page])
		p.inIdle[page] = nil
	}
}
