package jinja

import (
	"errors"
	"fmt"
	"slices"
)

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// scope holds the variables of a frame.
type scope struct {
	parent *scope
	vars   map[string]Value
}

// missing marks a variable that its frame has not assigned yet.
type missing struct{}

func newScope(parent *scope, f *frame) *scope {
	s := &scope{parent, map[string]Value{}}
	for _, name := range f.own {
		s.vars[name] = missing{}
	}
	return s
}

func (r *run) lookup(s *scope, name string) Value {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			if _, later := v.(missing); later {
				return undefinedName(name)
			}
			return v
		}
	}
	if v, ok := r.globals.Get(name); ok {
		return v
	}
	if f, ok := globalFunctions[name]; ok {
		return f
	}
	return undefinedName(name)
}

func undefinedName(name string) *Undefined { return &Undefined{fmt.Sprintf("'%s' is undefined", name)} }

// capture runs f and returns its output.
func (r *run) capture(f func() error) (string, error) {
	outer := r.out
	r.out = &sink{r: r}
	err := f()
	text := r.out.b.String()
	r.out = outer
	return text, err
}

func (r *run) block(s *scope, body []stmt) error {
	if err := r.deeper(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	for _, one := range body {
		if err := r.exec(s, one); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) exec(s *scope, one stmt) error {
	if err := r.tick(); err != nil {
		return err
	}
	switch one := one.(type) {
	case *dataStmt:
		return r.out.write(one.text)
	case *outputStmt:
		return at(one.line, r.output(s, one))
	case *ifStmt:
		return at(one.line, r.ifElse(s, one))
	case *forStmt:
		return at(one.line, r.forLoop(s, one))
	case *setStmt:
		return at(one.line, r.set(s, one))
	case *setBlock:
		return at(one.line, r.setBlock(s, one))
	case *macroStmt:
		s.vars[one.name] = &macro{one, s}
		return nil
	case *callBlock:
		return at(one.line, r.callBlock(s, one))
	case *filterBlock:
		return at(one.line, r.filterBlock(s, one))
	case *withStmt:
		return at(one.line, r.with(s, one))
	case *generationBlock:
		return at(one.line, r.generation(s, one))
	case breakStmt:
		return errBreak
	case continueStmt:
		return errContinue
	}
	return fmt.Errorf("a statement of type %T", one)
}

func (r *run) output(s *scope, o *outputStmt) error {
	v, err := r.eval(s, o.value)
	if err != nil {
		return err
	}
	text, err := r.text(v)
	if err != nil {
		return err
	}
	return r.out.write(text)
}

func (r *run) ifElse(s *scope, one *ifStmt) error {
	for i, test := range one.tests {
		v, err := r.eval(s, test)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.block(s, one.bodies[i])
		}
	}
	return r.block(s, one.last)
}

func (r *run) set(s *scope, one *setStmt) error {
	v, err := r.eval(s, one.value)
	if err != nil {
		return err
	}
	return r.assign(s, one.target, v)
}

func (r *run) assign(s *scope, target expr, v Value) error {
	switch t := target.(type) {
	case *nameExpr:
		s.vars[t.name] = v
		return nil
	case *namespaceRef:
		return r.assignAttr(s, t, v)
	case *tupleExpr:
		return r.unpack(s, t, v)
	}
	return fmt.Errorf("can't assign to %T", target)
}

func (r *run) assignAttr(s *scope, t *namespaceRef, v Value) error {
	switch ns := r.lookup(s, t.name).(type) {
	case *namespace:
		if err := namespaceName(t.attr); err != nil {
			return err
		}
		ns.attrs.Set(t.attr, v)
		return r.charge(itemSize)
	default:
		return errors.New("cannot assign attribute on non-namespace object")
	}
}

func (r *run) unpack(s *scope, t *tupleExpr, v Value) error {
	items, err := r.items(v)
	if err != nil {
		return err
	}
	if len(items) > len(t.items) {
		return fmt.Errorf("too many values to unpack (expected %d)", len(t.items))
	}
	if len(items) < len(t.items) {
		return fmt.Errorf("not enough values to unpack (expected %d, got %d)", len(t.items), len(items))
	}
	for i, one := range t.items {
		if err := r.assign(s, one, items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) setBlock(s *scope, one *setBlock) error {
	text, err := r.capture(func() error { return r.block(newScope(s, one.frame), one.body) })
	if err != nil {
		return err
	}
	var v Value = text
	if one.filter != nil {
		if v, err = r.applied(s, one.filter, text); err != nil {
			return err
		}
	}
	return r.assign(s, one.target, v)
}

func (r *run) filterBlock(s *scope, one *filterBlock) error {
	inner := newScope(s, one.frame)
	text, err := r.capture(func() error { return r.block(inner, one.body) })
	if err != nil {
		return err
	}
	v, err := r.applied(inner, one.filter, text)
	if err != nil {
		return err
	}
	if text, err = r.text(v); err != nil {
		return err
	}
	return r.out.write(text)
}

func (r *run) with(s *scope, one *withStmt) error {
	inner := newScope(s, one.frame)
	for i, target := range one.targets {
		v, err := r.eval(s, one.values[i])
		if err != nil {
			return err
		}
		if err := r.assign(inner, target, v); err != nil {
			return err
		}
	}
	return r.block(inner, one.body)
}

// generation executes a {% generation %} block and records its span. Like transformers, it
// measures the template's own output, so that blocks within macros are misplaced. A nested
// block is part of the outer one.
func (r *run) generation(s *scope, one *generationBlock) error {
	r.generations++
	text, err := r.call(&macro{one.macro, s}, arguments{})
	r.generations--
	if err != nil {
		return err
	}
	body, _ := text.(string)
	if r.generations == 0 {
		r.spans = append(r.spans, generated{r.root.b.Len(), body})
	}
	return r.out.write(body)
}

func (r *run) callBlock(s *scope, one *callBlock) error {
	callee, args, err := r.evalCall(s, one.call)
	if err != nil {
		return err
	}
	if _, given := args.named("caller"); given {
		return errors.New("got multiple values for keyword argument 'caller'")
	}
	args.names, args.values = append(args.names, "caller"), append(args.values, &macro{one.macro, s})
	v, err := r.call(callee, args)
	if err != nil {
		return err
	}
	text, err := r.text(v)
	if err != nil {
		return err
	}
	return r.out.write(text)
}

// loop is the loop variable of a for loop.
type loop struct {
	items   []Value
	at      int
	depth   int
	again   func(items Value) (Value, error) // of a recursive loop
	changed []Value
}

func (r *run) forLoop(s *scope, one *forStmt) error {
	v, err := r.eval(s, one.iter)
	if err != nil {
		return err
	}
	return r.iterate(s, one, v, 0)
}

func (r *run) iterate(s *scope, one *forStmt, v Value, depth int) error {
	items, err := r.items(v)
	if err != nil {
		return err
	}
	if one.test != nil {
		if items, err = r.filtered(s, one, items); err != nil {
			return err
		}
	}
	l := &loop{items: items, depth: depth}
	if one.recursive {
		l.again = func(items Value) (Value, error) {
			text, err := r.capture(func() error { return r.iterate(s, one, items, depth+1) })
			return text, err
		}
	}
	whole := false // as jinja2 compiles it, else runs if no iteration was completed
	for i, item := range items {
		l.at = i
		inner := newScope(s, one.frame)
		inner.vars["loop"] = l
		if err := r.assign(inner, one.target, item); err != nil {
			return err
		}
		err := r.block(inner, one.body)
		if err == errBreak {
			break
		}
		if err != nil && err != errContinue {
			return err
		}
		whole = whole || err == nil
	}
	if whole {
		return nil
	}
	return r.block(newScope(s, one.lastFrame), one.last)
}

// filtered returns the items that pass the loop's if.
func (r *run) filtered(s *scope, one *forStmt, items []Value) ([]Value, error) {
	var kept []Value
	for _, item := range items {
		inner := &scope{s, map[string]Value{}}
		if err := r.assign(inner, one.target, item); err != nil {
			return nil, err
		}
		v, err := r.eval(inner, one.test)
		if err != nil {
			return nil, err
		}
		if truth(v) {
			kept = append(kept, item)
		}
	}
	return kept, r.charge(len(kept) * itemSize)
}

// attr returns an attribute of the loop variable.
func (l *loop) attr(name string) (Value, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.at + 1), true
	case "index0":
		return int64(l.at), true
	case "revindex":
		return int64(n - l.at), true
	case "revindex0":
		return int64(n - l.at - 1), true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		if l.at == 0 {
			return &Undefined{"there is no previous item"}, true
		}
		return l.items[l.at-1], true
	case "nextitem":
		if l.at == n-1 {
			return &Undefined{"there is no next item"}, true
		}
		return l.items[l.at+1], true
	case "cycle":
		return &function{"cycle", l.cycle}, true
	case "changed":
		return &function{"changed", l.change}, true
	}
	return nil, false
}

func (l *loop) cycle(_ *run, args arguments) (Value, error) {
	if len(args.args) == 0 {
		return nil, errors.New("no items for cycling given")
	}
	return args.args[l.at%len(args.args)], nil
}

func (l *loop) change(r *run, args arguments) (Value, error) {
	same := l.changed != nil
	if same {
		equal, err := r.equal(&Tuple{Items: l.changed}, &Tuple{Items: args.args}, 0)
		if err != nil {
			return nil, err
		}
		same = equal
	}
	l.changed = slices.Clone(args.args)
	if l.changed == nil {
		l.changed = []Value{}
	}
	return !same, nil
}
