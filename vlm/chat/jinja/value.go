package jinja

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A Value is a value of a template: nil (None), bool, int64, *big.Int for larger integers,
// float64, string, *List, *Tuple, *Dict, or an internal type.
type Value any

// List is Python's list; templates cannot modify it.
type List struct{ Items []Value }

// Tuple is Python's tuple or, with names of its items, a named tuple.
type Tuple struct {
	Items []Value
	names []string
}

// Dict is Python's dict, which keeps the order of insertion.
type Dict struct {
	keys   []Value
	values []Value
	index  map[any]int // by hashed key
}

// Undefined is the value of an undefined name; using it is an error with the reason.
type Undefined struct{ reason string }

func (u *Undefined) err() error { return errors.New(u.reason) }

// markup is markupsafe's Markup, a text marked as safe: text added to it is escaped.
type markup string

type (
	namespace struct{ attrs *Dict }
	// rangeValue is Python's range.
	rangeValue struct{ start, stop, step, length int64 }
	// view is a dict's keys, values or items.
	view struct {
		kind  string
		items []Value
	}
	// generator yields its items once.
	generator struct {
		items []Value
		kind  string
	}
	// function is a method or global function.
	function struct {
		name string
		call func(r *run, args arguments) (Value, error)
	}
)

// NewList returns a list.
func NewList(items ...Value) *List { return &List{items} }

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{index: map[any]int{}} }

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Set sets a string key. A new key is added at the end.
func (d *Dict) Set(key string, v Value) {
	d.put(key, key, v)
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i, ok := d.index[key]; ok {
		return d.values[i], true
	}
	return nil, false
}

func (d *Dict) put(hashed any, key, v Value) {
	if i, ok := d.index[hashed]; ok {
		d.values[i] = v
		return
	}
	d.index[hashed] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, v)
}

func (d *Dict) set(key, v Value) error {
	h, err := hashed(key)
	if err == nil {
		d.put(h, key, v)
	}
	return err
}

func (d *Dict) get(key Value) (Value, bool, error) {
	h, err := hashed(key)
	if err != nil {
		return nil, false, err
	}
	if i, ok := d.index[h]; ok {
		return d.values[i], true, nil
	}
	return nil, false, nil
}

func (d *Dict) clone() *Dict {
	c := NewDict()
	for i, key := range d.keys {
		h, _ := hashed(key)
		c.put(h, key, d.values[i])
	}
	return c
}

func (d *Dict) pairs() []Value {
	out := make([]Value, len(d.keys))
	for i := range d.keys {
		out[i] = &Tuple{Items: []Value{d.keys[i], d.values[i]}}
	}
	return out
}

type (
	noneKey  struct{}
	undefKey struct{}
	tupleKey struct{ text string }
	bigKey   struct{ text string }
)

// hashed returns a key for a Go map. Values that are equal in Python have equal keys (1, 1.0
// and true).
func hashed(v Value) (any, error) {
	switch v := v.(type) {
	case nil:
		return noneKey{}, nil
	case *Undefined:
		return undefKey{}, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), nil
		}
		return v, nil
	case markup:
		return string(v), nil
	case *big.Int:
		return bigKey{v.String()}, nil
	case *Tuple:
		var b strings.Builder
		left := maxKeyItems
		if err := hashTuple(&b, v, &left); err != nil {
			return nil, err
		}
		return tupleKey{b.String()}, nil
	case *List, *Dict, *view:
		return nil, fmt.Errorf("unhashable type: '%s'", typeName(v))
	}
	return v, nil
}

// maxKeyItems limits the items of tuples that are keys, counting nested tuples repeatedly.
const maxKeyItems = 1000

func hashTuple(b *strings.Builder, t *Tuple, left *int) error {
	b.WriteByte('(')
	for _, item := range t.Items {
		if *left--; *left < 0 {
			return errors.New("a tuple is too large for a key")
		}
		if inner, ok := item.(*Tuple); ok {
			if err := hashTuple(b, inner, left); err != nil {
				return err
			}
			continue
		}
		h, err := hashed(item)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%T%q,", h, fmt.Sprint(h))
	}
	b.WriteByte(')')
	return nil
}

// typeName returns the name of a value's type in Python.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *rangeValue:
		return "range"
	case *view:
		return "dict_" + v.kind
	case *generator:
		return v.kind
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	}
	return "function"
}

// truth returns Python's bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	}
	if n, ok := length(v); ok {
		return n > 0
	}
	return true
}

// length returns Python's len(v); ok is false if v has none.
func length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return runeCount(v), true
	case markup:
		return runeCount(string(v)), true
	case *List:
		return len(v.Items), true
	case *Tuple:
		return len(v.Items), true
	case *Dict:
		return v.Len(), true
	case *Undefined:
		return 0, true
	case *rangeValue:
		return int(v.length), true
	case *view:
		return len(v.items), true
	case *loop:
		return len(v.items), true
	}
	return 0, false
}

// items returns all items of an iterable. A generator is empty afterwards.
func (r *run) items(v Value) ([]Value, error) {
	switch v := v.(type) {
	case string:
		return r.characters(v)
	case markup:
		return r.characters(string(v))
	case *List:
		return v.Items, nil
	case *Tuple:
		return v.Items, nil
	case *Dict:
		return v.keys, nil
	case *Undefined:
		return nil, nil
	case *view:
		return v.items, nil
	case *generator:
		items := v.items
		v.items = nil
		return items, nil
	case *loop:
		return nil, errors.New("the loop itself cannot be iterated over here")
	case *rangeValue:
		if err := r.charge(int(v.length) * itemSize); err != nil {
			return nil, err
		}
		out := make([]Value, v.length)
		for i := range out {
			out[i] = v.start + int64(i)*v.step
		}
		return out, nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", typeName(v))
}

func (r *run) characters(s string) ([]Value, error) {
	if err := r.charge(len(s) * itemSize); err != nil {
		return nil, err
	}
	out := make([]Value, 0, len(s))
	for i := 0; i < len(s); {
		n := runeSize(s[i:])
		out = append(out, s[i:i+n])
		i += n
	}
	return out, nil
}

// asText returns the text of a str or Markup.
func asText(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// asInt returns an int or bool as an integer, as Python's operators do.
func asInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

func asBig(v Value) (*big.Int, bool) {
	if b, ok := v.(*big.Int); ok {
		return b, true
	}
	n, ok := asInt(v)
	return big.NewInt(n), ok
}

func asFloat(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	n, ok := asInt(v)
	return float64(n), ok
}

// shortInt returns a big integer as an int64 if it fits.
func shortInt(b *big.Int) Value {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// floatText returns Python's repr of a float.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	e := strconv.FormatFloat(f, 'e', -1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	if exp < -4 || exp >= 16 {
		return e
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// All returns the entries with string keys, in order.
func (d *Dict) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i, key := range d.keys {
			if name, ok := key.(string); ok && !yield(name, d.values[i]) {
				return
			}
		}
	}
}
