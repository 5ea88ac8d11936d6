package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Filters of lists.

func filterBatch(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("batch", 1, "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	n, ok := asInt(p[0])
	if !ok {
		return nil, errors.New("batch takes a number")
	}
	if err := r.allocate((len(items) + int(min(max(n, 0), 1<<40))) * itemSize); err != nil && given(p[1]) && p[1] != nil {
		return nil, err
	}
	var out []Value
	for len(items) > 0 {
		take := items[:min(max(int(n), 1), len(items))]
		items = items[len(take):]
		row := slices.Clone(take)
		for fill := orElse(p[1], nil); fill != nil && len(items) == 0 && int64(len(row)) < n; {
			row = append(row, fill)
		}
		out = append(out, &List{row})
	}
	return &generator{out, "generator"}, r.charge(len(out) * itemSize)
}

func filterSlice(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("slice", 1, "slices", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	n, ok := asInt(p[0])
	if !ok || n == 0 {
		return nil, errors.New("slice takes a number that is not 0")
	}
	if err := r.allocate(int(min(max(n, 0), 1<<40)) * itemSize); err != nil {
		return nil, err
	}
	per, rest := int64(len(items))/n, int64(len(items))%n
	var out []Value
	offset := int64(0)
	for i := range n {
		start := offset + i*per
		if i < rest {
			offset++
		}
		row := slices.Clone(items[start : offset+(i+1)*per])
		if fill := orElse(p[1], nil); fill != nil && i >= rest {
			row = append(row, fill)
		}
		out = append(out, &List{row})
	}
	return &generator{out, "generator"}, r.charge(len(items) * itemSize)
}

func filterFirst(r *run, v Value, _ arguments) (Value, error) {
	if g, ok := v.(*generator); ok && len(g.items) > 0 {
		one := g.items[0]
		g.items = g.items[1:]
		return one, nil
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return &Undefined{"No first item, sequence was empty."}, nil
	}
	return items[0], nil
}

func filterLast(r *run, v Value, _ arguments) (Value, error) {
	if _, ok := v.(*generator); ok {
		return nil, fmt.Errorf("'%s' object is not reversible", typeName(v))
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return &Undefined{"No last item, sequence was empty."}, nil
	}
	return items[len(items)-1], nil
}

func filterList(r *run, v Value, _ arguments) (Value, error) {
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	return &List{slices.Clone(items)}, r.charge(len(items) * itemSize)
}

func filterItems(r *run, v Value, _ arguments) (Value, error) {
	switch d := v.(type) {
	case *Undefined:
		return &generator{nil, "generator"}, nil
	case *Dict:
		return &generator{d.pairs(), "generator"}, r.charge(3 * d.Len() * itemSize)
	}
	return nil, errors.New("Can only get item pairs from a mapping.")
}

func filterReverse(r *run, v Value, _ arguments) (Value, error) {
	if s, ok := asText(v); ok {
		runes := []rune(s)
		slices.Reverse(runes)
		return rewrap(v, string(runes)), r.charge(5 * len(s))
	}
	if g, ok := v.(*generator); ok && g.kind != "generator" {
		return nil, errors.New("argument must be iterable")
	}
	items, err := r.items(v)
	if err != nil {
		return nil, errors.New("argument must be iterable")
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return &generator{items, "list_reverseiterator"}, r.charge(len(items) * itemSize)
}

// getter returns a function that reads an attribute by a path of names and numbers, such as
// "a.0.b".
func (r *run) getter(attribute Value) (func(Value) (Value, error), error) {
	var path []Value
	switch a := attribute.(type) {
	case nil, absent:
	case string:
		for part := range strings.SplitSeq(a, ".") {
			path = append(path, pathPart(part))
		}
	case int64:
		path = []Value{a}
	default:
		return nil, fmt.Errorf("an attribute is a name or a number, not '%s'", typeName(a))
	}
	return func(v Value) (Value, error) {
		for _, part := range path {
			var err error
			if v, err = r.item(v, part); err != nil {
				return nil, err
			}
		}
		return v, nil
	}, nil
}

func pathPart(part string) Value {
	if n, err := strconv.ParseUint(part, 10, 62); err == nil && !strings.HasPrefix(part, "+") {
		return int64(n)
	}
	return part
}

// folded folds the case of a text, unless caseSensitive.
func folded(v Value, caseSensitive bool) Value {
	if s, ok := asText(v); ok && !caseSensitive {
		return lower(s)
	}
	return v
}

// itemsBy returns the items of v and the function that reads their attribute.
func (r *run) itemsBy(v, attribute Value) (items []Value, get func(Value) (Value, error), err error) {
	if get, err = r.getter(attribute); err == nil {
		items, err = r.items(v)
	}
	return items, get, err
}

func filterJoin(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("join", 0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	items, get, err := r.itemsBy(v, p[1])
	if err != nil {
		return nil, err
	}
	between, err := r.text(orElse(p[0], ""))
	if err != nil {
		return nil, err
	}
	out := &sink{r: r}
	for i, item := range items {
		one, err := get(item)
		if err != nil {
			return nil, err
		}
		text, err := r.text(one)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text = between + text
		}
		if err := out.write(text); err != nil {
			return nil, err
		}
	}
	return out.b.String(), nil
}

func filterMap(r *run, v Value, a arguments) (Value, error) {
	apply, err := r.mapping(&a)
	if err != nil {
		return nil, err
	}
	if !truth(v) {
		return &generator{nil, "generator"}, nil
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	out := make([]Value, len(items))
	for i, item := range items {
		if out[i], err = apply(item); err != nil {
			return nil, err
		}
	}
	return &generator{out, "generator"}, r.charge(len(out) * itemSize)
}

// mapping returns the function that map applies to an item: read an attribute or call a
// filter.
func (r *run) mapping(a *arguments) (func(Value) (Value, error), error) {
	attribute, ok := a.named("attribute")
	if len(a.args) == 0 && ok {
		byDefault, _ := a.named("default")
		for _, name := range a.names {
			if name != "attribute" && name != "default" {
				return nil, fmt.Errorf("Unexpected keyword argument '%s'", name)
			}
		}
		get, err := r.getter(attribute)
		return func(v Value) (Value, error) {
			v, err := get(v)
			if _, undefined := v.(*Undefined); undefined && byDefault != nil {
				return byDefault, err
			}
			return v, err
		}, err
	}
	if len(a.args) == 0 {
		return nil, errors.New("map requires a filter argument")
	}
	name, err := textArg("map", a.args[0])
	rest := arguments{a.args[1:], a.names, a.values}
	return func(v Value) (Value, error) { return r.filter(name, v, rest) }, err
}

// selecting returns select, reject, selectattr or rejectattr.
func selecting(keep, byAttribute bool) filterFunction {
	return func(r *run, v Value, a arguments) (Value, error) {
		if !truth(v) {
			return &generator{nil, "generator"}, nil
		}
		args := a.args
		var attribute Value
		if byAttribute {
			if len(args) == 0 {
				return nil, errors.New("Missing parameter for attribute name")
			}
			attribute, args = args[0], args[1:]
		}
		get, err := r.getter(attribute)
		if err != nil {
			return nil, err
		}
		items, err := r.items(v)
		if err != nil {
			return nil, err
		}
		var out []Value
		for _, item := range items {
			one, err := get(item)
			if err != nil {
				return nil, err
			}
			ok, err := r.passes(one, args, a)
			if err != nil {
				return nil, err
			}
			if ok == keep {
				out = append(out, item)
			}
		}
		return &generator{out, "generator"}, r.charge(len(out) * itemSize)
	}
}

func (r *run) passes(v Value, args []Value, a arguments) (bool, error) {
	if len(args) == 0 {
		return truth(v), nil
	}
	name, err := textArg("select", args[0])
	if err != nil {
		return false, err
	}
	return r.test(name, v, arguments{args[1:], a.names, a.values})
}
