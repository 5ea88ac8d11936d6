package jinja

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// compare evaluates ==, !=, <, <=, >, >=, in or not in.
func (r *run) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b, 0)
		return same == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(b, a)
		return in == (op == "in"), err
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return false, u.err()
		}
		if f, ok := v.(float64); ok && math.IsNaN(f) {
			return false, nil
		}
	}
	c, err := r.order(a, b, 0)
	if err != nil {
		return false, fmt.Errorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// equal returns Python's a == b.
func (r *run) equal(a, b Value, depth int) (bool, error) {
	if depth > maxValueDepth {
		return false, errDepth
	}
	if err := r.tick(); err != nil {
		return false, err
	}
	if x, ok := asText(a); ok {
		y, isText := asText(b)
		return isText && x == y, nil
	}
	if same, ok := equalNumbers(a, b); ok {
		return same, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *List:
		y, ok := b.(*List)
		if !ok {
			return false, nil
		}
		return r.equalItems(x.Items, y.Items, depth)
	case *Tuple:
		y, ok := b.(*Tuple)
		if !ok {
			return false, nil
		}
		return r.equalItems(x.Items, y.Items, depth)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok {
			return false, nil
		}
		return r.equalDicts(x, y, depth)
	case *rangeValue:
		y, ok := b.(*rangeValue)
		return ok && x.length == y.length && (x.length == 0 || x.start == y.start && (x.length == 1 || x.step == y.step)), nil
	case *view:
		y, ok := b.(*view)
		if !ok || x.kind == "values" || y.kind == "values" {
			return a == b, nil
		}
		return r.equalSets(x, y, depth)
	}
	return a == b, nil
}

// equalSets compares keys or items of two dicts as sets.
func (r *run) equalSets(x, y *view, depth int) (bool, error) {
	if len(x.items) != len(y.items) {
		return false, nil
	}
	for _, one := range x.items {
		if in, err := r.among(y.items, one, depth); err != nil || !in {
			return false, err
		}
	}
	return true, nil
}

func equalNumbers(a, b Value) (same, ok bool) {
	x, okX := asBig(a)
	y, okY := asBig(b)
	if okX && okY {
		return x.Cmp(y) == 0, true
	}
	fx, okX := asFloat(a)
	fy, okY := asFloat(b)
	if !okX || !okY {
		return false, okX && b != nil && !isContainer(b)
	}
	return fx == fy, true
}

func isContainer(v Value) bool {
	switch v.(type) {
	case *List, *Tuple, *Dict, *Undefined, *rangeValue, *view:
		return true
	}
	return false
}

func (r *run) equalItems(x, y []Value, depth int) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	for i := range x {
		if same, err := r.equal(x[i], y[i], depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDicts(x, y *Dict, depth int) (bool, error) {
	if x.Len() != y.Len() {
		return false, nil
	}
	for i, key := range x.keys {
		v, ok, err := y.get(key)
		if err != nil || !ok {
			return false, err
		}
		if same, err := r.equal(x.values[i], v, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

var errNoOrder = errors.New("values cannot be compared")

// order returns the sign of a - b.
func (r *run) order(a, b Value, depth int) (int, error) {
	if depth > maxValueDepth {
		return 0, errDepth
	}
	if err := r.tick(); err != nil {
		return 0, err
	}
	x, okX := asText(a)
	y, okY := asText(b)
	if okX && okY {
		return bytes.Compare([]byte(x), []byte(y)), nil // UTF-8 has the order of code points
	}
	bigX, okX := asBig(a)
	bigY, okY := asBig(b)
	if okX && okY {
		return bigX.Cmp(bigY), nil
	}
	floatX, okX := asFloat(a)
	floatY, okY := asFloat(b)
	if okX && okY {
		switch {
		case floatX < floatY:
			return -1, nil
		case floatX > floatY:
			return 1, nil
		}
		return 0, nil
	}
	if _, ok := a.(*List); ok {
		if _, ok := b.(*List); ok {
			return r.orderItems(itemsOf(a), itemsOf(b), depth)
		}
	}
	if _, ok := a.(*Tuple); ok {
		if _, ok := b.(*Tuple); ok {
			return r.orderItems(itemsOf(a), itemsOf(b), depth)
		}
	}
	return 0, errNoOrder
}

func (r *run) orderItems(x, y []Value, depth int) (int, error) {
	for i := range min(len(x), len(y)) {
		same, err := r.equal(x[i], y[i], depth+1)
		if err != nil {
			return 0, err
		}
		if !same {
			return r.order(x[i], y[i], depth+1)
		}
	}
	return len(x) - len(y), nil
}

// contains returns item in container.
func (r *run) contains(container, item Value) (bool, error) {
	if text, ok := asText(container); ok {
		part, isText := asText(item)
		if !isText {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(text, part), nil
	}
	switch c := container.(type) {
	case *Dict:
		_, ok, err := c.get(item)
		return ok, err
	case *namespace, nil, bool, int64, float64, *macro, *function:
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(container))
	case *rangeValue:
		n, ok := asInt(item)
		return ok && c.length > 0 && (n-c.start)%c.step == 0 && (n-c.start)/c.step >= 0 && (n-c.start)/c.step < c.length, nil
	}
	items, err := r.items(container)
	if err != nil {
		return false, err
	}
	return r.among(items, item, 0)
}

func (r *run) among(items []Value, item Value, depth int) (bool, error) {
	for _, one := range items {
		if one == nil && item == nil {
			return true, nil
		}
		if same, err := r.equal(one, item, depth+1); err != nil || same {
			return same, err
		}
	}
	return false, nil
}
