package tokenizer

// symbol is an element of the linked list of a word's current symbols.
type symbol struct {
	id, start  int32
	prev, next int  // indices in queue.symbols; out of range: none
	merged     bool // into the previous symbol
}

// candidate is a merge that was possible when it was added.
type candidate struct {
	rule mergeRule
	at   int // index of the left symbol
}

func (a candidate) before(b candidate) bool {
	if a.rule.rank != b.rule.rank {
		return a.rule.rank < b.rule.rank
	}
	return a.at < b.at
}

// queue merges the symbols of one word, lowest rank first and leftmost among equals, in
// O(n log n), since a word may have megabytes.
type queue struct {
	symbols []symbol
	heap    []candidate
}

// offer adds the merge of symbol i with the next one, if there is a rule for it.
func (q *queue) offer(m *bpe, i int) {
	if i < 0 || q.symbols[i].next >= len(q.symbols) {
		return
	}
	rule, ok := m.merges[pairKey(q.symbols[i].id, q.symbols[q.symbols[i].next].id)]
	if ok {
		q.push(candidate{rule, i})
	}
}

// merge applies the best merge and returns false if none is left.
func (q *queue) merge(m *bpe) bool {
	if len(q.heap) == 0 {
		return false
	}
	best := q.pop()
	left := &q.symbols[best.at]
	if left.merged || left.next >= len(q.symbols) {
		return true
	}
	right := &q.symbols[left.next]
	if rule, ok := m.merges[pairKey(left.id, right.id)]; !ok || rule.id != best.rule.id {
		return true // a symbol has changed since
	}
	left.id, left.next, right.merged = best.rule.id, right.next, true
	if left.next < len(q.symbols) {
		q.symbols[left.next].prev = best.at
	}
	q.offer(m, left.prev)
	q.offer(m, best.at)
	return true
}

func (q *queue) word() word {
	var w word
	for _, s := range q.symbols {
		if !s.merged {
			w.ids, w.starts = append(w.ids, s.id), append(w.starts, s.start)
		}
	}
	return w
}

// push and pop implement a binary heap. Unlike container/heap, they do not box elements.
func (q *queue) push(c candidate) {
	q.heap = append(q.heap, c)
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(q.heap[up]) {
			return
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) pop() candidate {
	h := q.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(h[best]) {
				best = child
			}
		}
		if best == i {
			break
		}
		h[i], h[best] = h[best], h[i]
		i = best
	}
	q.heap = h
	return top
}
