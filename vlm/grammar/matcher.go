package grammar

import (
	"encoding/binary"
	"slices"
)

// Matcher follows the tokens of one answer. It implements generate.Constraint. It is not safe for
// concurrent use.
//
// The network's alternatives are followed together, as the states of an automaton that is made as it is
// needed: a state is the set of places in the network, each with the places to return to.
type Matcher struct {
	network *network
	tokens  *Vocabulary

	stacks   []frame // 0 is the empty stack
	stackIDs map[frame]int
	states   []*superstate
	stateIDs map[string]int
	masks    int
	now      int // current state; dead: no text of the grammar begins so
}

// frame is a stack: a state to return to, above another stack.
type frame struct{ then, below, depth int }

// place is a state of the network with its stack.
type place struct{ state, stack int }

// superstate is a state of the automaton.
type superstate struct {
	places  []place // those that continue with a byte
	accepts bool    // the text may end here
	next    [256]int32
	allowed mask
}

// Values of superstate.next besides states.
const (
	unknown = -1
	dead    = -2
)

// Limits of what a matcher keeps; deeper values are not generated.
const (
	maxDepth  = 256
	maxPlaces = 4096
	maxStates = 4096
	maxMasks  = 512
	maxStacks = 1 << 18
)

// Over returns a matcher for an answer of tokens of a vocabulary.
func (g *Grammar) Over(v *Vocabulary) *Matcher {
	m := &Matcher{network: g.network, tokens: v}
	m.reset()
	m.now = m.intern([]place{{g.start, 0}})
	return m
}

// check returns an error if the grammar has too many alternatives at its start.
func (g *Grammar) check() error {
	if m := g.Over(&Vocabulary{}); m.now == dead {
		return &SchemaError{"#", "has too many alternatives"}
	}
	return nil
}

func (m *Matcher) reset() {
	m.stacks, m.stackIDs = []frame{{}}, map[frame]int{}
	m.states, m.stateIDs, m.masks = nil, map[string]int{}, 0
}

// Mask sets the logits of the tokens that may not come next to -Inf, and reports whether any may.
func (m *Matcher) Mask(logits []float32) bool {
	if m.now == dead {
		return false
	}
	m.limit()
	s := m.states[m.now]
	if s.allowed == nil {
		s.allowed = m.allowed()
		m.masks++
	}
	s.allowed.apply(logits)
	return slices.ContainsFunc(s.allowed, func(word uint64) bool { return word != 0 })
}

// Accept continues after a token.
func (m *Matcher) Accept(id int32) {
	if slices.Contains(m.tokens.ends, id) {
		return
	}
	text := m.tokens.text(id)
	if text == nil {
		m.now = dead
	}
	for _, b := range text {
		if m.now == dead {
			return
		}
		m.now = m.step(m.now, b)
	}
}

// Ended reports whether the text is complete, so that it may end here.
func (m *Matcher) Ended() bool { return m.now >= 0 && m.states[m.now].accepts }

// allowed returns the tokens that may come next.
func (m *Matcher) allowed() mask {
	v := m.tokens
	out := make(mask, (len(v.tokens)+63)/64)
	if m.states[m.now].accepts {
		for _, id := range v.ends {
			out.add(id)
		}
	}
	path := []int{m.now} // the states after each byte of the token before
	for i, text := range v.bytes {
		if v.common[i] >= len(path) {
			continue // its first bytes are not allowed
		}
		path = path[:v.common[i]+1]
		for _, b := range text[v.common[i]:] {
			next := m.step(path[len(path)-1], b)
			if next == dead {
				break
			}
			path = append(path, next)
		}
		if len(path) == len(text)+1 {
			out.add(v.ids[i])
		}
	}
	return out
}

// step returns the state after a byte.
func (m *Matcher) step(from int, b byte) int {
	s := m.states[from]
	if to := s.next[b]; to != unknown {
		return int(to)
	}
	var after []place
	for _, p := range s.places {
		for _, e := range m.network.states[p.state].on {
			if e.lo <= b && b <= e.hi {
				after = append(after, place{e.to, p.stack})
			}
		}
	}
	to := m.intern(after)
	s.next[b] = int32(to)
	return to
}

// intern returns the state of places and of all that is reached from them without a byte.
func (m *Matcher) intern(places []place) int {
	found, accepts := m.closure(places)
	if len(found) == 0 && !accepts || len(found) > maxPlaces {
		return dead
	}
	slices.SortFunc(found, func(a, b place) int {
		if a.state != b.state {
			return a.state - b.state
		}
		return a.stack - b.stack
	})
	key := make([]byte, 0, 16*len(found)+1)
	for _, p := range found {
		key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(p.state)), uint64(p.stack))
	}
	if accepts {
		key = append(key, 0xff)
	}
	if id, ok := m.stateIDs[string(key)]; ok {
		return id
	}
	s := &superstate{places: found, accepts: accepts}
	for i := range s.next {
		s.next[i] = unknown
	}
	m.states = append(m.states, s)
	m.stateIDs[string(key)] = len(m.states) - 1
	return len(m.states) - 1
}

// closure returns the places with bytes that are reached without one.
func (m *Matcher) closure(todo []place) (found []place, accepts bool) {
	seen := map[place]bool{}
	for len(todo) > 0 && len(seen) <= 4*maxPlaces {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		s := &m.network.states[p.state]
		if len(s.on) > 0 {
			found = append(found, p)
		}
		for _, to := range s.skip {
			todo = append(todo, place{to, p.stack})
		}
		for _, c := range s.calls {
			if stack, ok := m.push(c.then, p.stack); ok {
				todo = append(todo, place{c.part, stack})
			}
		}
		switch top := m.stacks[p.stack]; {
		case !s.returns:
		case p.stack == 0:
			accepts = true
		default:
			todo = append(todo, place{top.then, top.below})
		}
	}
	if len(todo) > 0 {
		return make([]place, maxPlaces+1), false
	}
	return found, accepts
}

func (m *Matcher) push(then, below int) (stack int, ok bool) {
	f := frame{then, below, m.stacks[below].depth + 1}
	if f.depth > maxDepth {
		return 0, false
	}
	stack, ok = m.stackIDs[f]
	if !ok {
		stack = len(m.stacks)
		m.stacks, m.stackIDs[f] = append(m.stacks, f), stack
	}
	return stack, true
}

// limit forgets all states but the current one if there are too many.
func (m *Matcher) limit() {
	current, accepts, stacks := m.states[m.now].places, m.states[m.now].accepts, m.stacks
	if len(m.states) < maxStates && m.masks < maxMasks && len(m.stacks) < maxStacks || len(current) == 0 {
		return
	}
	m.reset()
	var places []place
	for _, p := range current {
		places = append(places, place{p.state, m.copyStack(stacks, p.stack)})
	}
	m.now = m.intern(places)
	m.states[m.now].accepts = accepts
}

// copyStack makes a stack of an earlier table one of the current table.
func (m *Matcher) copyStack(from []frame, stack int) int {
	if stack == 0 {
		return 0
	}
	f := from[stack]
	out, _ := m.push(f.then, m.copyStack(from, f.below))
	return out
}
