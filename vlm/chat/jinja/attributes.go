package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// attribute returns object.name: an attribute or method, or else an item.
func (r *run) attribute(object Value, name string) (Value, error) {
	if u, ok := object.(*Undefined); ok {
		return undefinedAttr(u, name)
	}
	if v, ok := r.member(object, name); ok {
		return v, nil
	}
	if d, ok := object.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v, nil
		}
	}
	return noAttribute(object, name), nil
}

func undefinedAttr(u *Undefined, name string) (Value, error) {
	if pythonInternal[name] {
		return unsafeAttr(u, name), nil
	}
	return nil, u.err()
}

func noAttribute(object Value, name string) *Undefined {
	return &Undefined{fmt.Sprintf("'%s' object has no attribute '%s'", typeName(object), name)}
}

func unsafeAttr(object Value, name string) *Undefined {
	return &Undefined{fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe.", name, typeName(object))}
}

// member returns an attribute or method. Those that modify a value are unsafe.
func (r *run) member(object Value, name string) (Value, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return unsafeAttr(object, name), pythonInternal[name]
	}
	switch o := object.(type) {
	case *namespace:
		v, ok := o.attrs.Get(name)
		return v, ok
	case *loop:
		return o.attr(name)
	case *macro:
		return o.attr(name)
	case *cycler:
		return o.attr(name)
	case *Tuple:
		for i, n := range o.names {
			if n == name {
				return o.Items[i], true
			}
		}
	}
	return method(object, name)
}

// pythonInternal are attributes of all Python objects.
var pythonInternal = map[string]bool{
	"__class__": true, "__doc__": true, "__init__": true, "__dict__": true, "__module__": true, "__new__": true, "__reduce__": true,
	"__getattribute__": true, "__eq__": true, "__hash__": true, "__str__": true, "__repr__": true, "__subclasshook__": true,
}

// item returns object[index]: an item, or else an attribute.
func (r *run) item(object, index Value) (Value, error) {
	if u, ok := object.(*Undefined); ok {
		return nil, u.err()
	}
	v, ok, err := r.subscript(object, index)
	if err != nil || ok {
		return v, err
	}
	if name, isText := asText(index); isText {
		if v, ok := r.member(object, name); ok {
			return v, nil
		}
		return noAttribute(object, name), nil
	}
	text, err := r.text(index)
	return &Undefined{fmt.Sprintf("%s object has no element %s", typeName(object), text)}, err
}

// subscript returns Python's object[index]; ok is false if it raises a TypeError or
// LookupError.
func (r *run) subscript(object, index Value) (v Value, ok bool, err error) {
	if d, isDict := object.(*Dict); isDict {
		v, ok, err := d.get(index)
		if err != nil { // unhashable
			return nil, false, nil
		}
		return v, ok, nil
	}
	if _, isBig := index.(*big.Int); isBig {
		return nil, false, nil
	}
	i, isInt := asInt(index)
	if !isInt {
		return nil, false, nil
	}
	n, hasItems := length(object)
	if !hasItems {
		return nil, false, nil
	}
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, false, nil
	}
	switch o := object.(type) {
	case string:
		return characterAt(o, int(i)), true, nil
	case markup:
		return markup(characterAt(string(o), int(i))), true, nil
	case *List:
		return o.Items[i], true, nil
	case *Tuple:
		return o.Items[i], true, nil
	case *rangeValue:
		return o.start + i*o.step, true, nil
	}
	return nil, false, nil
}

func characterAt(s string, at int) string {
	for i := 0; i < len(s); at-- {
		n := runeSize(s[i:])
		if at == 0 {
			return s[i : i+n]
		}
		i += n
	}
	return ""
}

// slice returns object[lo:hi:step].
func (r *run) slice(object Value, bounds [3]Value) (Value, error) {
	if u, ok := object.(*Undefined); ok {
		return nil, u.err()
	}
	n, ok := length(object)
	switch object.(type) {
	case string, markup, *List, *Tuple, *rangeValue:
	default:
		ok = false
	}
	if !ok { // jinja2 compiles slices to Python's, without a fallback to undefined
		return nil, fmt.Errorf("'%s' object is not subscriptable", typeName(object))
	}
	lo, hi, step, err := sliceBounds(bounds, int64(n))
	if err != nil {
		return nil, err
	}
	if step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	count := rangeLength(lo, hi, step)
	switch o := object.(type) {
	case string:
		return r.sliceText(o, lo, hi, step, count)
	case markup:
		text, err := r.sliceText(string(o), lo, hi, step, count)
		return markup(text), err
	case *rangeValue:
		return &rangeValue{o.start + lo*o.step, o.start + hi*o.step, o.step * step, count}, nil
	}
	if err := r.charge(int(count) * itemSize); err != nil {
		return nil, err
	}
	from := itemsOf(object)
	out := make([]Value, count)
	for i := range out {
		out[i] = from[lo+int64(i)*step]
	}
	if _, ok := object.(*Tuple); ok {
		return &Tuple{Items: out}, nil
	}
	return &List{out}, nil
}

func itemsOf(v Value) []Value {
	switch v := v.(type) {
	case *List:
		return v.Items
	case *Tuple:
		return v.Items
	}
	return nil
}

func (r *run) sliceText(s string, lo, hi, step, count int64) (string, error) {
	if err := r.allocate(4 * int(count)); err != nil && int(count) > r.limits.Size {
		return "", err
	}
	if step == 1 {
		return byRunes(s, lo, max(lo, hi)), nil
	}
	if err := r.charge(4 * len(s)); err != nil {
		return "", err
	}
	runes := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = runes[lo+int64(i)*step]
	}
	return string(out), nil
}

// byRunes returns s[lo:hi] in characters.
func byRunes(s string, lo, hi int64) string {
	from, at := len(s), int64(0)
	for i := range s {
		if at == lo {
			from = i
		}
		if at == hi {
			return s[from:i]
		}
		at++
	}
	return s[min(from, len(s)):]
}

// sliceBounds is Python's slice.indices.
func sliceBounds(bounds [3]Value, n int64) (lo, hi, step int64, err error) {
	var given [3]bool
	var v [3]int64
	for i, b := range bounds {
		if b == nil {
			continue
		}
		var ok bool
		if v[i], ok = asInt(b); !ok {
			return 0, 0, 0, errors.New("slice indices must be integers or None")
		}
		given[i] = true
	}
	step = 1
	if given[2] {
		step = max(v[2], -1<<62)
	}
	low, high := int64(0), n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(i int, otherwise int64) int64 {
		if !given[i] {
			return otherwise
		}
		at := v[i]
		if at < 0 {
			at += n
		}
		return min(max(at, low), high)
	}
	if step < 0 {
		return bound(0, high), bound(1, low), step, nil
	}
	return bound(0, low), bound(1, high), step, nil
}

func rangeLength(lo, hi, step int64) int64 {
	switch {
	case step > 0 && lo < hi:
		return (hi-lo-1)/step + 1
	case step < 0 && lo > hi:
		return (lo-hi-1)/-step + 1
	}
	return 0
}
