package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// arguments are the arguments of a call.
type arguments struct {
	args   []Value
	names  []string
	values []Value // of the keyword arguments
}

func (a arguments) named(name string) (Value, bool) {
	if i := slices.Index(a.names, name); i >= 0 {
		return a.values[i], true
	}
	return nil, false
}

// absent marks an argument that was not given.
type absent struct{}

// bind returns the arguments in the order of a function's parameters. Those from required on
// may be absent.
func (a arguments) bind(function string, required int, params ...string) ([]Value, error) {
	out := make([]Value, len(params))
	for i := range out {
		out[i] = absent{}
	}
	if len(a.args) > len(params) {
		return nil, fmt.Errorf("%s() takes at most %d arguments (%d given)", function, len(params), len(a.args))
	}
	copy(out, a.args)
	for i, name := range a.names {
		at := slices.Index(params, name)
		if at < 0 {
			return nil, fmt.Errorf("%s() got an unexpected keyword argument '%s'", function, name)
		}
		if at < len(a.args) {
			return nil, fmt.Errorf("%s() got multiple values for argument '%s'", function, name)
		}
		out[at] = a.values[i]
	}
	for i := range required {
		if _, ok := out[i].(absent); ok {
			return nil, fmt.Errorf("%s() missing a required argument: '%s'", function, params[i])
		}
	}
	return out, nil
}

func given(v Value) bool { _, no := v.(absent); return !no }

func orElse(v, otherwise Value) Value {
	if given(v) {
		return v
	}
	return otherwise
}

func (r *run) evalArgs(s *scope, c *callArgs) (arguments, error) {
	var a arguments
	for _, e := range c.args {
		v, err := r.eval(s, e)
		if err != nil {
			return a, err
		}
		a.args = append(a.args, v)
	}
	for i, e := range c.named {
		v, err := r.eval(s, e)
		if err != nil {
			return a, err
		}
		a.names, a.values = append(a.names, c.names[i]), append(a.values, v)
	}
	if err := r.starArgs(s, c, &a); err != nil {
		return a, err
	}
	return a, r.charge((len(a.args) + len(a.names)) * itemSize)
}

func (r *run) starArgs(s *scope, c *callArgs, a *arguments) error {
	if c.star != nil {
		v, err := r.eval(s, c.star)
		if err != nil {
			return err
		}
		items, err := r.items(v)
		if err != nil {
			return err
		}
		a.args = append(a.args, items...)
	}
	if c.dict == nil {
		return nil
	}
	v, err := r.eval(s, c.dict)
	if err != nil {
		return err
	}
	d, ok := v.(*Dict)
	if !ok {
		return fmt.Errorf("argument after ** must be a mapping, not %s", typeName(v))
	}
	for i, key := range d.keys {
		name, ok := key.(string)
		if !ok {
			return errors.New("keywords must be strings")
		}
		if slices.Contains(a.names, name) {
			return fmt.Errorf("got multiple values for keyword argument '%s'", name)
		}
		a.names, a.values = append(a.names, name), append(a.values, d.values[i])
	}
	return nil
}

func (r *run) evalCall(s *scope, c *callExpr) (Value, arguments, error) {
	callee, err := r.eval(s, c.callee)
	if err != nil {
		return nil, arguments{}, err
	}
	args, err := r.evalArgs(s, &c.callArgs)
	return callee, args, err
}

// call calls a value.
func (r *run) call(callee Value, args arguments) (Value, error) {
	if err := r.deeper(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	switch f := callee.(type) {
	case *function:
		return f.call(r, args)
	case *macro:
		return r.callMacro(f, args)
	case *Undefined:
		return nil, f.err()
	case *loop:
		return r.callLoop(f, args)
	case *joiner:
		return f.next(), nil
	}
	return nil, fmt.Errorf("'%s' object is not callable", typeName(callee))
}

func (r *run) callLoop(l *loop, args arguments) (Value, error) {
	if l.again == nil {
		return nil, errors.New("The loop must have the 'recursive' marker to be called recursively.")
	}
	v, err := args.bind("loop", 1, "iterable")
	if err != nil {
		return nil, err
	}
	return r.nested(func() (Value, error) { return l.again(v[0]) })
}

// nested runs f one level deeper in the recursion of macros and loops.
func (r *run) nested(f func() (Value, error)) (Value, error) {
	if r.macros++; r.macros > maxMacroDepth {
		return nil, errDepth
	}
	defer func() { r.macros-- }()
	return f()
}

// macro is a macro and the scope of its definition.
type macro struct {
	def   *macroStmt
	scope *scope
}

func (r *run) callMacro(m *macro, args arguments) (Value, error) {
	s := newScope(m.scope, m.def.frame)
	if err := m.bind(s, args); err != nil {
		return nil, err
	}
	if err := r.defaults(m, s); err != nil {
		return nil, err
	}
	return r.nested(func() (Value, error) {
		text, err := r.capture(func() error { return r.block(s, m.def.body) })
		return text, err
	})
}

// bind assigns the arguments of a macro as jinja2.runtime.Macro does.
func (m *macro) bind(s *scope, args arguments) error {
	params := m.def.params
	for i, v := range args.args[:min(len(args.args), len(params))] {
		s.vars[params[i]] = v
	}
	rest := NewDict()
	for i, name := range args.names {
		at := slices.Index(params, name)
		switch {
		case at >= 0 && at < len(args.args):
			rest.Set(name, args.values[i])
		case at >= 0:
			s.vars[name] = args.values[i]
		case name == "caller" && m.def.usesCaller:
			s.vars["caller"] = args.values[i]
		default:
			rest.Set(name, args.values[i])
		}
	}
	if m.def.usesCaller && !slices.Contains(params, "caller") {
		if _, ok := s.vars["caller"]; !ok {
			s.vars["caller"] = &Undefined{"No caller defined"}
		}
	}
	return m.bindRest(s, args, rest)
}

func (m *macro) bindRest(s *scope, args arguments, rest *Dict) error {
	name, params := m.def.name, m.def.params
	if m.def.usesKwargs {
		s.vars["kwargs"] = rest
	} else if rest.Len() > 0 {
		if _, ok := rest.Get("caller"); ok {
			return fmt.Errorf("macro '%s' was invoked with two values for the special caller argument. This is most likely a bug.", name)
		}
		return fmt.Errorf("macro '%s' takes no keyword argument '%v'", name, rest.keys[0])
	}
	if m.def.usesVarargs {
		extra := []Value{}
		if len(args.args) > len(params) {
			extra = args.args[len(params):]
		}
		s.vars["varargs"] = &Tuple{Items: extra}
	} else if len(args.args) > len(params) {
		return fmt.Errorf("macro '%s' takes not more than %d argument(s)", name, len(params))
	}
	return nil
}

// defaults sets parameters that were not given, in order, so that a default may use the
// parameters before it.
func (r *run) defaults(m *macro, s *scope) error {
	first := len(m.def.params) - len(m.def.defaults)
	for i, name := range m.def.params {
		if _, ok := s.vars[name]; ok {
			continue
		}
		if i < first {
			s.vars[name] = &Undefined{fmt.Sprintf("parameter '%s' was not provided", name)}
			continue
		}
		v, err := r.eval(s, m.def.defaults[i-first])
		if err != nil {
			return err
		}
		s.vars[name] = v
	}
	return nil
}

func (m *macro) attr(name string) (Value, bool) {
	switch name {
	case "name":
		return m.def.name, true
	case "arguments":
		t := &Tuple{}
		for _, p := range m.def.params {
			t.Items = append(t.Items, p)
		}
		return t, true
	case "catch_kwargs":
		return m.def.usesKwargs, true
	case "catch_varargs":
		return m.def.usesVarargs, true
	case "caller":
		return m.def.usesCaller, true
	}
	return nil, false
}
