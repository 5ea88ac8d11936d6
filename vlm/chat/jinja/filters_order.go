package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sorted sorts items by their keys; it is stable also if reversed.
func (r *run) sorted(items []Value, reverse bool, key func(Value) (Value, error)) ([]Value, error) {
	type keyed struct{ key, item Value }
	list := make([]keyed, len(items))
	for i, item := range items {
		k, err := key(item)
		if err != nil {
			return nil, err
		}
		list[i] = keyed{k, item}
	}
	var failed error
	slices.SortStableFunc(list, func(a, b keyed) int {
		c, err := r.order(a.key, b.key, 0)
		if err != nil && failed == nil {
			failed = r.sortError(err, a.key, b.key)
		}
		if reverse {
			return -c
		}
		return c
	})
	out := make([]Value, len(list))
	for i, one := range list {
		out[i] = one.item
	}
	if failed != nil {
		return nil, failed
	}
	return out, r.charge(3 * len(out) * itemSize)
}

func (r *run) sortError(err error, a, b Value) error {
	if err != errNoOrder {
		return err
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return u.err()
		}
	}
	return fmt.Errorf("'<' not supported between instances of '%s' and '%s'", typeName(a), typeName(b))
}

func filterSort(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("sort", 0, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	attributes := []Value{p[2]}
	if text, ok := p[2].(string); ok {
		attributes = nil
		for one := range strings.SplitSeq(text, ",") {
			attributes = append(attributes, one)
		}
	}
	key, err := r.multiGetter(attributes, truth(orElse(p[1], false)))
	if err != nil {
		return nil, err
	}
	out, err := r.sorted(items, truth(orElse(p[0], false)), key)
	return &List{out}, err
}

func (r *run) multiGetter(attributes []Value, caseSensitive bool) (func(Value) (Value, error), error) {
	var gets []func(Value) (Value, error)
	for _, one := range attributes {
		get, err := r.getter(one)
		if err != nil {
			return nil, err
		}
		gets = append(gets, get)
	}
	return func(v Value) (Value, error) {
		keys := make([]Value, len(gets))
		for i, get := range gets {
			one, err := get(v)
			if err != nil {
				return nil, err
			}
			keys[i] = folded(one, caseSensitive)
		}
		return &List{keys}, nil
	}, nil
}

func filterDictSort(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("dictsort", 0, "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("'%s' object has no attribute 'items'", typeName(v))
	}
	by, _ := asText(orElse(p[1], "key"))
	at := slices.Index([]string{"key", "value"}, by)
	if at < 0 {
		return nil, errors.New(`You can only sort by either "key" or "value"`)
	}
	out, err := r.sorted(d.pairs(), truth(orElse(p[2], false)), func(v Value) (Value, error) {
		return folded(itemsOf(v)[at], truth(orElse(p[0], false))), nil
	})
	return &List{out}, err
}

func filterUnique(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("unique", 0, "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, get, err := r.itemsBy(v, p[1])
	if err != nil {
		return nil, err
	}
	seen := map[any]bool{}
	var out []Value
	for _, item := range items {
		one, err := get(item)
		if err != nil {
			return nil, err
		}
		key, err := hashed(folded(one, truth(orElse(p[0], false))))
		if err != nil {
			return nil, err
		}
		if !seen[key] {
			out = append(out, item)
		}
		seen[key] = true
	}
	return &generator{out, "generator"}, r.charge(3 * len(out) * itemSize)
}

func minOrMax(wantMax bool) filterFunction {
	return func(r *run, v Value, a arguments) (Value, error) {
		p, err := a.bind("min", 0, "case_sensitive", "attribute")
		if err != nil {
			return nil, err
		}
		items, get, err := r.itemsBy(v, p[1])
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return &Undefined{"No aggregated item, sequence was empty."}, nil
		}
		var best, bestKey Value
		for i, item := range items {
			key, err := get(item)
			if err != nil {
				return nil, err
			}
			key = folded(key, truth(orElse(p[0], false)))
			c := -1
			if i > 0 {
				if c, err = r.order(key, bestKey, 0); err != nil {
					return nil, r.sortError(err, key, bestKey)
				}
				if wantMax {
					c = -c
				}
			}
			if c < 0 {
				best, bestKey = item, key
			}
		}
		return best, nil
	}
}

func filterSum(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("sum", 0, "attribute", "start")
	if err != nil {
		return nil, err
	}
	get, err := r.getter(p[0])
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	total := orElse(p[1], int64(0))
	if _, ok := asText(total); ok {
		return nil, errors.New("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for _, item := range items {
		one, err := get(item)
		if err != nil {
			return nil, err
		}
		if total, err = r.binary("+", total, one); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterGroupBy(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("groupby", 1, "attribute", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	get, err := r.getter(p[0])
	if err != nil {
		return nil, err
	}
	sensitive := truth(orElse(p[2], false))
	own := func(v Value) (Value, error) {
		v, err := get(v)
		if _, undefined := v.(*Undefined); undefined && orElse(p[1], nil) != nil {
			return p[1], err
		}
		return v, err
	}
	key := func(v Value) (Value, error) {
		v, err := own(v)
		return folded(v, sensitive), err
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	if items, err = r.sorted(items, false, key); err != nil {
		return nil, err
	}
	return r.grouped(items, key, own)
}

func (r *run) grouped(items []Value, key, own func(Value) (Value, error)) (Value, error) {
	out := &List{}
	var last Value
	for i, item := range items {
		k, err := key(item)
		if err != nil {
			return nil, err
		}
		same := false
		if i > 0 {
			if same, err = r.equal(k, last, 0); err != nil {
				return nil, err
			}
		}
		last = k
		if !same {
			name, err := own(item)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, &Tuple{[]Value{name, &List{}}, []string{"grouper", "list"}})
		}
		group := out.Items[len(out.Items)-1].(*Tuple).Items[1].(*List)
		group.Items = append(group.Items, item)
	}
	return out, r.charge(4 * len(items) * itemSize)
}
