// Package grammar limits generated tokens to JSON, or to JSON that a schema describes. A schema
// becomes a network of states over bytes with calls and returns; the tokens that may come next are
// found by running those of the vocabulary through it.
package grammar

import "slices"

// network is a recursive transition network over bytes: states, some of which call others and
// continue when these return. A state's paths are alternatives.
type network struct {
	states []state
	spaces int // the part that space calls
}

type state struct {
	on      []edge
	skip    []int  // states that are reached without a byte
	calls   []call // other parts of the network, and where to continue after them
	returns bool   // the called part ends here
}

// edge leads to a state by a byte of lo to hi.
type edge struct {
	lo, hi byte
	to     int
}

type call struct{ part, then int }

func (n *network) add() int {
	n.states = append(n.states, state{})
	return len(n.states) - 1
}

func (n *network) byteRange(from int, lo, hi byte, to int) {
	s := &n.states[from]
	s.on = append(s.on, edge{lo, hi, to})
}

func (n *network) skip(from, to int) {
	n.states[from].skip = append(n.states[from].skip, to)
}

func (n *network) call(from, part, then int) {
	n.states[from].calls = append(n.states[from].calls, call{part, then})
}

// text adds the bytes of a text after a state and returns the state after them.
func (n *network) text(from int, text string) int {
	for _, b := range []byte(text) {
		to := n.add()
		n.byteRange(from, b, b, to)
		from = to
	}
	return from
}

// any adds one byte of the given ones after a state.
func (n *network) any(from int, bytes string, to int) {
	for _, b := range []byte(bytes) {
		n.byteRange(from, b, b, to)
	}
}

// maxIndent is the most spaces or tabs of an indented line.
const maxIndent = 20

// space adds what may be between two tokens of JSON: nothing, a space, or a new line with its
// indent. It is bounded, because a model that is in doubt would write spaces forever.
func (n *network) space(from int) int {
	end := n.add()
	n.call(from, n.spaces, end)
	return end
}

func (n *network) spacePart(from int) int {
	end := n.add()
	n.skip(from, end)
	n.byteRange(from, ' ', ' ', end)
	line := n.add()
	n.byteRange(from, '\n', '\n', line)
	n.skip(line, end)
	for range maxIndent {
		next := n.add()
		n.any(line, " \t", next)
		n.skip(next, end)
		line = next
	}
	return end
}

// digits adds up to a number of digits, of which the least are required.
func (n *network) digits(from, least, most int) int {
	end := n.add()
	for i := range most {
		if i >= least {
			n.skip(from, end)
		}
		next := n.add()
		n.byteRange(from, '0', '9', next)
		from = next
	}
	n.skip(from, end)
	return end
}

// The parts that every network has: their first states.
type parts struct{ text, number, integer, boolean, null, value, object, array int }

// part starts a part of the network; its end returns to the caller.
func (n *network) part(build func(from int) (end int)) int {
	start := n.add()
	n.states[build(start)].returns = true
	return start
}

func newNetwork() (*network, parts) {
	n := &network{}
	var p parts
	n.spaces = n.part(n.spacePart)
	p.text = n.part(n.stringPart)
	p.integer = n.part(n.integerPart)
	p.number = n.part(n.numberPart)
	p.null = n.part(func(from int) int { return n.text(from, "null") })
	p.boolean = n.part(func(from int) int {
		end := n.text(from, "true")
		n.skip(n.text(from, "false"), end)
		return end
	})
	p.value = n.add()
	p.array = n.part(func(from int) int { return n.arrayPart(from, p.value) })
	p.object = n.part(func(from int) int { return n.mapPart(from, p.text, p.value) })
	n.choice(p.value, p.text, p.number, p.boolean, p.null, p.object, p.array)
	return n, p
}

// choice makes a declared state one of several parts.
func (n *network) choice(start int, parts ...int) {
	end := n.add()
	n.states[end].returns = true
	for _, part := range parts {
		n.call(start, part, end)
	}
}

// stringPart is a JSON string of valid UTF-8. Escapes of surrogates are left out: whole characters
// are written as they are.
func (n *network) stringPart(from int) int {
	inside, end := n.add(), n.add()
	n.byteRange(from, '"', '"', inside)
	n.byteRange(inside, '"', '"', end)
	n.byteRange(inside, ' ', '"'-1, inside)
	n.byteRange(inside, '"'+1, '\\'-1, inside)
	n.byteRange(inside, '\\'+1, 0x7e, inside)
	n.utf8(inside)
	n.escapes(inside)
	return end
}

// utf8 adds characters of two to four bytes (Unicode 15, table 3-7) to a loop.
func (n *network) utf8(loop int) {
	last, lastTwo, lastThree := n.add(), n.add(), n.add()
	n.byteRange(last, 0x80, 0xbf, loop)
	n.byteRange(lastTwo, 0x80, 0xbf, last)
	n.byteRange(lastThree, 0x80, 0xbf, lastTwo)
	n.byteRange(loop, 0xc2, 0xdf, last)
	for _, c := range []struct {
		lead, leadHi, lo, hi byte
		then                 int
	}{
		{0xe0, 0xe0, 0xa0, 0xbf, last}, {0xe1, 0xec, 0x80, 0xbf, last}, {0xed, 0xed, 0x80, 0x9f, last}, {0xee, 0xef, 0x80, 0xbf, last},
		{0xf0, 0xf0, 0x90, 0xbf, lastTwo}, {0xf1, 0xf3, 0x80, 0xbf, lastTwo}, {0xf4, 0xf4, 0x80, 0x8f, lastTwo},
	} {
		second := n.add()
		n.byteRange(loop, c.lead, c.leadHi, second)
		n.byteRange(second, c.lo, c.hi, c.then)
	}
}

func (n *network) escapes(loop int) {
	escape, u, d, two, three, last := n.add(), n.add(), n.add(), n.add(), n.add(), n.add()
	n.byteRange(loop, '\\', '\\', escape)
	n.any(escape, `"\/bfnrt`, loop)
	n.byteRange(escape, 'u', 'u', u)
	n.any(u, "0123456789abcefABCEF", three)
	n.any(u, "dD", d)
	n.any(d, "01234567", two)
	const hex = "0123456789abcdefABCDEF"
	n.any(three, hex, two)
	n.any(two, hex, last)
	n.any(last, hex, loop)
}

// The most digits of a number: a model that is in doubt would write them forever.
const (
	maxDigits         = 15
	maxExponentDigits = 2
)

func (n *network) integerPart(from int) int {
	first := n.add()
	n.skip(from, first)
	n.byteRange(from, '-', '-', first)
	rest := n.add()
	n.byteRange(first, '1', '9', rest)
	end := n.digits(rest, 0, maxDigits-1)
	n.byteRange(first, '0', '0', end)
	return end
}

func (n *network) numberPart(from int) int {
	whole := n.integerPart(from)
	point, exponent, digits, end := n.add(), n.add(), n.add(), n.add()
	n.byteRange(whole, '.', '.', point)
	fraction := n.digits(point, 1, maxDigits)
	for _, s := range []int{whole, fraction} {
		n.skip(s, end)
		n.any(s, "eE", exponent)
	}
	n.any(exponent, "+-", digits)
	n.skip(exponent, digits)
	n.skip(n.digits(digits, 1, maxExponentDigits), end)
	return end
}

// arrayPart is an array of items that are a part.
func (n *network) arrayPart(from, item int) int {
	first := n.space(n.text(from, "["))
	after, end := n.add(), n.add()
	n.call(first, item, after)
	n.byteRange(first, ']', ']', end)
	n.byteRange(n.space(after), ']', ']', end)
	n.call(n.space(n.text(after, ",")), item, after)
	return end
}

// mapPart is an object with any number of keys and values.
func (n *network) mapPart(from, key, value int) int {
	first := n.space(n.text(from, "{"))
	after, end := n.add(), n.add()
	n.pair(first, key, value, after)
	n.byteRange(first, '}', '}', end)
	n.byteRange(n.space(after), '}', '}', end)
	n.pair(n.space(n.text(after, ",")), key, value, after)
	return end
}

func (n *network) pair(from, key, value, then int) {
	colon := n.add()
	n.call(from, key, colon)
	n.call(n.space(n.text(colon, ":")), value, then)
}

// property is a property of an object: its key as JSON, and the part that is its value.
type property struct {
	key      string
	value    int
	required bool
}

// objectPart is an object with the given properties in their order; those that are not required may
// be left out.
func (n *network) objectPart(from int, properties []property) int {
	none, end := n.space(n.text(from, "{")), n.add() // no property has been written yet
	some := -1                                       // one has
	for _, p := range properties {
		written := n.add()
		n.call(n.space(n.text(n.text(none, p.key), ":")), p.value, written)
		if some >= 0 {
			comma := n.space(n.text(some, ","))
			n.call(n.space(n.text(n.text(comma, p.key), ":")), p.value, written)
		}
		switch {
		case p.required:
			none, some = n.add(), written // none: unreachable
		case some >= 0:
			n.skip(some, written)
			some = written
		default:
			some = written
		}
	}
	n.byteRange(none, '}', '}', end)
	if some >= 0 {
		n.byteRange(n.space(some), '}', '}', end)
	}
	return end
}

// literals is one of some texts.
func (n *network) literals(from int, texts []string) int {
	end := n.add()
	for _, text := range slices.Compact(slices.Sorted(slices.Values(texts))) {
		n.skip(n.text(from, text), end)
	}
	return end
}

// loops reports whether a state is reached again without a byte: a part that begins with itself.
func (n *network) loops() bool {
	const open, done = 1, 2
	seen := make([]byte, len(n.states))
	var visit func(s int) bool
	visit = func(s int) bool {
		if seen[s] != 0 {
			return seen[s] == open
		}
		seen[s] = open
		next := slices.Clone(n.states[s].skip)
		for _, c := range n.states[s].calls {
			next = append(next, c.part)
			if c.part == n.spaces { // it may be empty
				next = append(next, c.then)
			}
		}
		if slices.ContainsFunc(next, visit) {
			return true
		}
		seen[s] = done
		return false
	}
	for s := range n.states {
		if visit(s) {
			return true
		}
	}
	return false
}
