package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"unicode"
)

// A testFunction is a function that "is" can call, with its number of arguments.
type testFunction struct {
	args int
	test func(r *run, v Value, args []Value) (bool, error)
}

var testFunctions map[string]*testFunction

func kind(f func(v Value) bool) *testFunction {
	return &testFunction{0, func(_ *run, v Value, _ []Value) (bool, error) { return f(v), nil }}
}

func comparing(op string) *testFunction {
	return &testFunction{1, func(r *run, v Value, args []Value) (bool, error) { return r.compare(op, v, args[0]) }}
}

func init() {
	eq, ne, gt, ge, lt, le := comparing("=="), comparing("!="), comparing(">"), comparing(">="), comparing("<"), comparing("<=")
	testFunctions = map[string]*testFunction{
		"defined":   kind(func(v Value) bool { return !isUndefined(v) }),
		"undefined": kind(isUndefined),
		"none":      kind(func(v Value) bool { return v == nil }),
		"boolean":   kind(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":      kind(func(v Value) bool { return v == true }),
		"false":     kind(func(v Value) bool { return v == false }),
		"integer":   kind(func(v Value) bool { _, isBool := v.(bool); _, ok := asBig(v); return ok && !isBool }),
		"float":     kind(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":    kind(func(v Value) bool { _, ok := asFloat(v); return ok }),
		"string":    kind(func(v Value) bool { _, ok := asText(v); return ok }),
		"mapping":   kind(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"sequence":  kind(isSequence),
		"iterable":  kind(isIterable),
		"callable":  kind(isCallable),
		"escaped":   kind(func(v Value) bool { _, ok := v.(markup); return ok }),
		"lower":     {0, func(r *run, v Value, _ []Value) (bool, error) { return r.hasCase(v, unicode.IsLower, unicode.IsUpper) }},
		"upper":     {0, func(r *run, v Value, _ []Value) (bool, error) { return r.hasCase(v, unicode.IsUpper, unicode.IsLower) }},
		"odd":       {0, func(r *run, v Value, _ []Value) (bool, error) { return r.divides(v, int64(2), int64(1)) }},
		"even":      {0, func(r *run, v Value, _ []Value) (bool, error) { return r.divides(v, int64(2), int64(0)) }},
		"divisibleby": {1, func(r *run, v Value, args []Value) (bool, error) {
			return r.divides(v, args[0], int64(0))
		}},
		"in":     {1, func(r *run, v Value, args []Value) (bool, error) { return r.contains(args[0], v) }},
		"sameas": {1, func(_ *run, v Value, args []Value) (bool, error) { return same(v, args[0]), nil }},
		"filter": {0, func(_ *run, v Value, _ []Value) (bool, error) {
			s, _ := asText(v)
			return filterFunctions[s] != nil, nil
		}},
		"test": {0, func(_ *run, v Value, _ []Value) (bool, error) { s, _ := asText(v); return testFunctions[s] != nil, nil }},
		"==":   eq, "eq": eq, "equalto": eq, "!=": ne, "ne": ne, ">": gt, "gt": gt, "greaterthan": gt, ">=": ge, "ge": ge,
		"<": lt, "lt": lt, "lessthan": lt, "<=": le, "le": le,
	}
}

func isUndefined(v Value) bool { _, ok := v.(*Undefined); return ok }

// isSequence reports whether v has a length and items.
func isSequence(v Value) bool {
	switch v.(type) {
	case string, markup, *List, *Tuple, *Dict, *rangeValue, *Undefined:
		return true
	}
	return false
}

func isIterable(v Value) bool {
	switch v.(type) {
	case *view, *generator, *loop:
		return true
	}
	return isSequence(v)
}

func isCallable(v Value) bool {
	switch v.(type) {
	case *function, *macro, *Undefined, *joiner, *loop:
		return true
	}
	return false
}

func (r *run) hasCase(v Value, is, not func(rune) bool) (bool, error) {
	s, err := r.text(v)
	return cased(s, is, not), err
}

func (r *run) divides(v, by, rest Value) (bool, error) {
	left, err := r.binary("%", v, by)
	if err != nil {
		return false, err
	}
	return r.equal(left, rest, 0)
}

// same is Python's is, as far as that does not depend on its caches.
func same(a, b Value) bool {
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return ok && x == y
	case *big.Int, float64:
		return false
	}
	return a == b
}

// cycler is jinja2's cycler.
type cycler struct {
	items []Value
	at    int
}

func (c *cycler) attr(name string) (Value, bool) {
	switch name {
	case "current":
		return c.items[c.at], true
	case "next":
		return &function{name, func(*run, arguments) (Value, error) {
			v := c.items[c.at]
			c.at = (c.at + 1) % len(c.items)
			return v, nil
		}}, true
	case "reset":
		return &function{name, func(*run, arguments) (Value, error) { c.at = 0; return nil, nil }}, true
	}
	return nil, false
}

// joiner is jinja2's joiner, which returns its separator from the second call on.
type joiner struct {
	sep  Value
	used bool
}

func (j *joiner) next() Value {
	if !j.used {
		j.used = true
		return ""
	}
	return j.sep
}

// globalFunctions are jinja2's globals except lipsum, and those of transformers.
var globalFunctions map[string]*function

func init() {
	globalFunctions = map[string]*function{}
	for name, f := range map[string]func(r *run, args arguments) (Value, error){
		"range": rangeOf, "dict": dictOf, "namespace": namespaceOf,
		"cycler": func(_ *run, a arguments) (Value, error) {
			if len(a.args) == 0 || len(a.names) > 0 {
				return nil, errors.New("at least one item has to be provided")
			}
			return &cycler{items: a.args}, nil
		},
		"joiner": func(_ *run, a arguments) (Value, error) {
			v, err := a.bind("joiner", 0, "sep")
			if err != nil {
				return nil, err
			}
			return &joiner{sep: orElse(v[0], ", ")}, nil
		},
		"raise_exception": func(r *run, a arguments) (Value, error) {
			v, err := a.bind("raise_exception", 1, "message")
			if err != nil {
				return nil, err
			}
			message, err := r.text(v[0])
			if err != nil {
				return nil, err
			}
			return nil, &Error{Reason: message}
		},
		"strftime_now": func(r *run, a arguments) (Value, error) {
			v, err := a.bind("strftime_now", 1, "format")
			if err != nil {
				return nil, err
			}
			format, err := textArg("strftime_now", v[0])
			if err != nil {
				return nil, err
			}
			return r.strftime(r.now(), format)
		},
	} {
		globalFunctions[name] = &function{name, f}
	}
}

func rangeOf(_ *run, a arguments) (Value, error) {
	if len(a.args) < 1 || len(a.args) > 3 || len(a.names) > 0 {
		return nil, errors.New("range takes [start,] stop[, step]")
	}
	n := []int64{0, 0, 1}
	for i, v := range a.args {
		x, ok := asInt(v)
		if !ok {
			return nil, fmt.Errorf("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		n[i] = x
	}
	if len(a.args) == 1 {
		n[0], n[1] = 0, n[0]
	}
	if n[2] == 0 {
		return nil, errors.New("range() arg 3 must not be zero")
	}
	const far = 1 << 61
	for _, x := range n {
		if x < -far || x > far {
			return nil, errRange
		}
	}
	count := rangeLength(n[0], n[1], n[2])
	if count > maxRange {
		return nil, errRange
	}
	return &rangeValue{n[0], n[1], n[2], count}, nil
}

func dictOf(r *run, a arguments) (Value, error) {
	d := NewDict()
	if len(a.args) > 1 {
		return nil, fmt.Errorf("dict expected at most 1 argument, got %d", len(a.args))
	}
	if len(a.args) == 1 {
		if from, ok := a.args[0].(*Dict); ok {
			d = from.clone()
		} else if err := r.pairsInto(d, a.args[0]); err != nil {
			return nil, err
		}
	}
	for i, name := range a.names {
		d.Set(name, a.values[i])
	}
	return d, r.charge(4 * d.Len() * itemSize)
}

func (r *run) pairsInto(d *Dict, v Value) error {
	pairs, err := r.items(v)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		two, err := r.items(pair)
		if err != nil {
			return err
		}
		if len(two) != 2 {
			return fmt.Errorf("dictionary update sequence element has length %d; 2 is required", len(two))
		}
		if err := d.set(two[0], two[1]); err != nil {
			return err
		}
	}
	return nil
}

func namespaceOf(r *run, a arguments) (Value, error) {
	v, err := dictOf(r, a)
	if err != nil {
		return nil, err
	}
	d := v.(*Dict)
	for _, key := range d.keys {
		if name, ok := asText(key); ok {
			if err := namespaceName(name); err != nil {
				return nil, err
			}
		}
	}
	return &namespace{d}, nil
}

func namespaceName(name string) error {
	if strings.HasPrefix(name, "_") {
		return fmt.Errorf("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%s'. Please rename the attribute.", name)
	}
	return nil
}
