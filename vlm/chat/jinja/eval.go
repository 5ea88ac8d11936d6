package jinja

import (
	"fmt"
)

// eval evaluates an expression.
func (r *run) eval(s *scope, e expr) (Value, error) {
	if err := r.deeper(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case *constant:
		return e.value, nil
	case *nameExpr:
		return r.lookup(s, e.name), nil
	case *tupleExpr:
		items, err := r.evalAll(s, e.items)
		return &Tuple{Items: items}, err
	case *listExpr:
		items, err := r.evalAll(s, e.items)
		return &List{items}, err
	case *dictExpr:
		return r.evalDict(s, e)
	case *condExpr:
		return r.evalCond(s, e)
	case *logicExpr:
		left, err := r.eval(s, e.left)
		if err != nil || truth(left) != e.and {
			return left, err
		}
		return r.eval(s, e.right)
	case *notExpr:
		v, err := r.eval(s, e.inner)
		return !truth(v), err
	case *unaryExpr:
		v, err := r.eval(s, e.inner)
		if err != nil {
			return nil, err
		}
		return unary(e.op, v)
	case *binaryExpr:
		return r.evalBinary(s, e)
	case *concatExpr:
		return r.evalConcat(s, e)
	case *compareExpr:
		return r.evalCompare(s, e)
	case *attrExpr:
		object, err := r.eval(s, e.object)
		if err != nil {
			return nil, err
		}
		return r.attribute(object, e.name)
	case *itemExpr:
		return r.evalItem(s, e)
	case *callExpr:
		callee, args, err := r.evalCall(s, e)
		if err != nil {
			return nil, err
		}
		v, err := r.call(callee, args)
		return v, at(e.line, err)
	case *filterExpr:
		inner, err := r.eval(s, e.inner)
		if err != nil {
			return nil, err
		}
		return r.evalFilter(s, e, inner)
	case *testExpr:
		return r.evalTest(s, e)
	}
	return nil, fmt.Errorf("an expression of type %T", e)
}

func (r *run) evalAll(s *scope, list []expr) ([]Value, error) {
	out := make([]Value, len(list))
	for i, e := range list {
		v, err := r.eval(s, e)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, r.charge(len(out) * itemSize)
}

func (r *run) evalDict(s *scope, e *dictExpr) (Value, error) {
	d := NewDict()
	for i := range e.keys {
		key, err := r.eval(s, e.keys[i])
		if err != nil {
			return nil, err
		}
		v, err := r.eval(s, e.values[i])
		if err != nil {
			return nil, err
		}
		if err := d.set(key, v); err != nil {
			return nil, err
		}
	}
	return d, r.charge(4 * d.Len() * itemSize)
}

func (r *run) evalCond(s *scope, e *condExpr) (Value, error) {
	test, err := r.eval(s, e.test)
	if err != nil {
		return nil, err
	}
	if truth(test) {
		return r.eval(s, e.then)
	}
	if e.otherwise == nil {
		return &Undefined{fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", e.line)}, nil
	}
	return r.eval(s, e.otherwise)
}

func (r *run) evalBinary(s *scope, e *binaryExpr) (Value, error) {
	left, err := r.eval(s, e.left)
	if err != nil {
		return nil, err
	}
	right, err := r.eval(s, e.right)
	if err != nil {
		return nil, err
	}
	return r.binary(e.op, left, right)
}

func (r *run) evalConcat(s *scope, e *concatExpr) (Value, error) {
	out := &sink{r: r}
	for _, one := range e.items {
		v, err := r.eval(s, one)
		if err != nil {
			return nil, err
		}
		text, err := r.text(v)
		if err != nil {
			return nil, err
		}
		if err := out.write(text); err != nil {
			return nil, err
		}
	}
	return out.b.String(), nil
}

func (r *run) evalCompare(s *scope, e *compareExpr) (Value, error) {
	left, err := r.eval(s, e.first)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		right, err := r.eval(s, e.rest[i])
		if err != nil {
			return nil, err
		}
		ok, err := r.compare(op, left, right)
		if err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, nil
}

func (r *run) evalItem(s *scope, e *itemExpr) (Value, error) {
	object, err := r.eval(s, e.object)
	if err != nil {
		return nil, err
	}
	cut, ok := e.index.(*sliceExpr)
	if !ok {
		index, err := r.eval(s, e.index)
		if err != nil {
			return nil, err
		}
		return r.item(object, index)
	}
	var bounds [3]Value
	for i, part := range []expr{cut.lo, cut.hi, cut.step} {
		if part == nil {
			continue
		}
		if bounds[i], err = r.eval(s, part); err != nil {
			return nil, err
		}
	}
	return r.slice(object, bounds)
}

// applied applies a chain of filters to v.
func (r *run) applied(s *scope, e expr, v Value) (Value, error) {
	f, ok := e.(*filterExpr)
	if !ok {
		return v, nil
	}
	if f.inner != nil {
		var err error
		if v, err = r.applied(s, f.inner, v); err != nil {
			return nil, err
		}
	}
	return r.evalFilter(s, f, v)
}

func (r *run) evalFilter(s *scope, e *filterExpr, v Value) (Value, error) {
	args, err := r.evalArgs(s, &e.callArgs)
	if err != nil {
		return nil, err
	}
	v, err = r.filter(e.name, v, args)
	return v, at(e.line, err)
}

func (r *run) filter(name string, v Value, args arguments) (Value, error) {
	f := filterFunctions[name]
	if f == nil {
		return nil, fmt.Errorf("No filter named '%s'", name)
	}
	if err := r.tick(); err != nil {
		return nil, err
	}
	return f(r, v, args)
}

func (r *run) evalTest(s *scope, e *testExpr) (Value, error) {
	v, err := r.eval(s, e.inner)
	if err != nil {
		return nil, err
	}
	args, err := r.evalArgs(s, &e.callArgs)
	if err != nil {
		return nil, err
	}
	ok, err := r.test(e.name, v, args)
	return ok, at(e.line, err)
}

func (r *run) test(name string, v Value, args arguments) (bool, error) {
	f := testFunctions[name]
	if f == nil {
		return false, fmt.Errorf("No test named '%s'", name)
	}
	if len(args.names) > 0 {
		return false, fmt.Errorf("the test %s takes no keyword arguments", name)
	}
	if want := f.args; len(args.args) != want {
		return false, fmt.Errorf("the test %s takes %d arguments, %d given", name, want, len(args.args))
	}
	return f.test(r, v, args.args)
}
