package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// method returns a method of a value. As in the immutable sandbox, methods that modify the
// value return an error when used.
func method(object Value, name string) (Value, bool) {
	if text, ok := asText(object); ok {
		f, ok := textMethods[name]
		if !ok {
			return nil, false
		}
		return &function{name, func(r *run, args arguments) (Value, error) {
			v, err := f(r, text, args)
			if _, safe := object.(markup); safe && err == nil {
				return markedLike(v), nil
			}
			return v, err
		}}, true
	}
	switch o := object.(type) {
	case *Dict:
		if strings.Contains(" clear pop popitem setdefault update ", " "+name+" ") {
			return unsafeAttr(object, name), true
		}
		if f, ok := dictMethods[name]; ok {
			return &function{name, func(r *run, args arguments) (Value, error) { return f(r, o, args) }}, true
		}
	case *List:
		if strings.Contains(" append clear pop reverse insert sort extend remove ", " "+name+" ") {
			return unsafeAttr(object, name), true
		}
		return sequenceMethod(o.Items, o, name)
	case *Tuple:
		return sequenceMethod(o.Items, o, name)
	case *rangeValue:
		return o.member(name)
	}
	return numberMember(object, name)
}

// markedLike marks the result of a Markup method as Markup.
func markedLike(v Value) Value {
	switch v := v.(type) {
	case string:
		return markup(v)
	case *List:
		items := make([]Value, len(v.Items))
		for i, one := range v.Items {
			items[i] = markedLike(one)
		}
		return &List{items}
	case *Tuple:
		return &Tuple{Items: markedLike(&List{v.Items}).(*List).Items}
	}
	return v
}

func sequenceMethod(items []Value, whole Value, name string) (Value, bool) {
	switch name {
	case "count":
		return &function{name, func(r *run, args arguments) (Value, error) {
			v, err := args.bind("count", 1, "value")
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for _, one := range items {
				same, err := r.among([]Value{one}, v[0], 0)
				if err != nil {
					return nil, err
				}
				if same {
					n++
				}
			}
			return n, nil
		}}, true
	case "index":
		return &function{name, func(r *run, args arguments) (Value, error) { return sequenceIndex(r, items, args) }}, true
	case "copy":
		if _, ok := whole.(*List); ok {
			return &function{name, func(*run, arguments) (Value, error) { return whole, nil }}, true
		}
	}
	return nil, false
}

func (v *rangeValue) member(name string) (Value, bool) {
	switch name {
	case "start":
		return v.start, true
	case "stop":
		return v.stop, true
	case "step":
		return v.step, true
	case "count", "index":
		return &function{name, func(r *run, args arguments) (Value, error) {
			items, err := r.items(v)
			if err != nil {
				return nil, err
			}
			f, _ := sequenceMethod(items, v, name)
			return f.(*function).call(r, args)
		}}, true
	}
	return nil, false
}

func sequenceIndex(r *run, items []Value, args arguments) (Value, error) {
	v, err := args.bind("index", 1, "value", "start", "stop")
	if err != nil {
		return nil, err
	}
	lo, hi, _, err := sliceBounds([3]Value{orElse(v[1], nil), orElse(v[2], nil)}, int64(len(items)))
	if err != nil {
		return nil, err
	}
	for i := lo; i < hi; i++ {
		same, err := r.among(items[i:i+1], v[0], 0)
		if err != nil {
			return nil, err
		}
		if same {
			return i, nil
		}
	}
	return nil, errors.New("the value is not in the list")
}

var dictMethods = map[string]func(r *run, d *Dict, args arguments) (Value, error){
	"get": func(_ *run, d *Dict, args arguments) (Value, error) {
		if len(args.names) > 0 {
			return nil, errors.New("dict.get() takes no keyword arguments")
		}
		v, err := args.bind("get", 1, "key", "default")
		if err != nil {
			return nil, err
		}
		found, ok, err := d.get(v[0])
		if err != nil || ok {
			return found, err
		}
		return orElse(v[1], nil), nil
	},
	"items":  viewOf("items"),
	"keys":   viewOf("keys"),
	"values": viewOf("values"),
	"copy": func(r *run, d *Dict, _ arguments) (Value, error) {
		return d.clone(), r.charge(4 * d.Len() * itemSize)
	},
}

func viewOf(kind string) func(r *run, d *Dict, args arguments) (Value, error) {
	return func(r *run, d *Dict, args arguments) (Value, error) {
		if len(args.args)+len(args.names) > 0 {
			return nil, fmt.Errorf("dict.%s() takes no arguments", kind)
		}
		switch kind {
		case "keys":
			return &view{kind, d.keys}, nil
		case "values":
			return &view{kind, d.values}, nil
		}
		return &view{kind, d.pairs()}, r.charge(3 * d.Len() * itemSize)
	}
}

// numberMember returns one of the few supported members of numbers.
func numberMember(object Value, name string) (Value, bool) {
	switch f := object.(type) {
	case float64:
		if name == "is_integer" {
			return &function{name, func(*run, arguments) (Value, error) { return f == float64(int64(f)), nil }}, true
		}
	}
	if _, ok := asFloat(object); ok && name == "real" {
		return object, true
	}
	return nil, false
}
