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
	if err := r.makes((len(items) + int(min(max(n, 0), 1<<40))) * itemSize); err != nil && given(p[1]) && p[1] != nil {
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
	if err := r.makes(int(min(max(n, 0), 1<<40)) * itemSize); err != nil {
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

// getter reads an attribute, by a path of names and numbers as "a.0.b".
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

// folded makes texts alike that differ by case alone.
func folded(v Value, caseSensitive bool) Value {
	if s, ok := asText(v); ok && !caseSensitive {
		return lower(s)
	}
	return v
}

func filterJoin(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("join", 0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	get, err := r.getter(p[1])
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
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

// mapping is what map does with an item: it takes an attribute, or calls a filter.
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

// selecting makes select, reject, selectattr and rejectattr.
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

// sorted sorts items by keys, stable also where it sorts downwards.
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
	get, err := r.getter(p[1])
	if err != nil {
		return nil, err
	}
	items, err := r.items(v)
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
		get, err := r.getter(p[1])
		if err != nil {
			return nil, err
		}
		items, err := r.items(v)
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
