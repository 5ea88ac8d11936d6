package jinja

import "slices"

// A frame is a scope as in jinja2's compiler (jinja2/idtracking.py), which resolves names
// statically. A name that a frame assigns before reading it, outside of any branch, belongs
// to the frame from its start, and is undefined until assigned.
type frame struct {
	parent *frame
	known  map[string]bool
	own    []string // undefined at the start
}

func newFrame(parent *frame, params ...string) *frame {
	f := &frame{parent: parent, known: map[string]bool{}}
	for _, name := range params {
		f.known[name] = true
	}
	return f
}

func (f *frame) finds(name string) bool {
	for ; f != nil; f = f.parent {
		if f.known[name] {
			return true
		}
	}
	return false
}

func (f *frame) read(name string) { f.known[name] = true }

func (f *frame) assign(name string, branch bool) {
	if f.known[name] {
		return
	}
	f.known[name] = true
	if !branch && (f.parent == nil || !f.parent.finds(name)) {
		f.own = append(f.own, name)
	}
}

// resolver computes the frames of a template. Like jinja2, it reports unknown filters and
// tests before rendering, except in branches.
type resolver struct{}

func resolveNames(body []stmt) *frame {
	root := newFrame(nil)
	resolver{}.body(root, body, false)
	return root
}

// body visits a frame's statements, then its inner frames.
func (r resolver) body(f *frame, body []stmt, soft bool) {
	for _, s := range body {
		r.visit(f, s, false)
	}
	for _, s := range body {
		r.inner(f, s, soft)
	}
}

// visit records the names that a statement reads and assigns in its own frame.
func (r resolver) visit(f *frame, s stmt, branch bool) {
	switch s := s.(type) {
	case *outputStmt:
		r.expr(f, s.value)
	case *ifStmt:
		r.visitIf(f, s)
	case *forStmt:
		r.expr(f, s.iter)
	case *setStmt:
		r.expr(f, s.value)
		r.target(f, s.target, branch)
	case *setBlock:
		r.target(f, s.target, branch)
	case *macroStmt:
		f.assign(s.name, branch)
	case *callBlock:
		r.expr(f, s.call)
	case *filterBlock:
		r.expr(f, s.filter)
	case *withStmt:
		for _, v := range s.values {
			r.expr(f, v)
		}
	}
}

func (r resolver) visitIf(f *frame, s *ifStmt) {
	for _, test := range s.tests[:1] {
		r.expr(f, test)
	}
	for i, body := range append(slices.Clone(s.bodies), s.last) {
		if i > 0 && i < len(s.tests) {
			r.expr(f, s.tests[i])
		}
		for _, one := range body {
			r.visit(f, one, true)
		}
	}
}

func (r resolver) target(f *frame, target expr, branch bool) {
	switch t := target.(type) {
	case *nameExpr:
		f.assign(t.name, branch)
	case *namespaceRef:
		f.read(t.name)
	case *tupleExpr:
		for _, one := range t.items {
			r.target(f, one, branch)
		}
	}
}

// inner creates the frames inside a statement.
func (r resolver) inner(f *frame, s stmt, soft bool) {
	switch s := s.(type) {
	case *outputStmt:
		checkFunctions(s.value, soft)
	case *setStmt:
		checkFunctions(s.value, soft)
	case *ifStmt:
		r.innerIf(f, s)
	case *forStmt:
		r.innerFor(f, s, soft)
	case *setBlock:
		checkFunctions(s.filter, soft)
		s.frame = newFrame(f)
		r.body(s.frame, s.body, false)
	case *macroStmt:
		r.macro(f, s)
	case *generationBlock:
		r.macro(f, s.macro)
	case *callBlock:
		checkFunctions(s.call, soft)
		r.macro(f, s.macro)
	case *filterBlock:
		checkFunctions(s.filter, soft)
		s.frame = newFrame(f)
		r.body(s.frame, s.body, false)
	case *withStmt:
		for _, v := range s.values {
			checkFunctions(v, soft)
		}
		var names []string
		for _, t := range s.targets {
			names = append(names, targetNames(t)...)
		}
		s.frame = newFrame(f, names...)
		r.body(s.frame, s.body, false)
	}
}

func (r resolver) innerIf(f *frame, s *ifStmt) {
	for _, test := range s.tests {
		checkFunctions(test, true)
	}
	for _, body := range append(slices.Clone(s.bodies), s.last) {
		for _, one := range body {
			r.inner(f, one, true)
		}
	}
}

func (r resolver) innerFor(f *frame, s *forStmt, soft bool) {
	checkFunctions(s.iter, soft)
	checkFunctions(s.test, false)
	names := targetNames(s.target)
	s.frame = newFrame(f, append(names, "loop")...)
	r.body(s.frame, s.body, false)
	s.lastFrame = newFrame(f)
	r.body(s.lastFrame, s.last, false)
}

func (r resolver) macro(f *frame, m *macroStmt) {
	for _, one := range m.defaults {
		checkFunctions(one, false)
	}
	free := freeNames(m.body)
	m.usesCaller, m.usesVarargs, m.usesKwargs = free["caller"], free["varargs"], free["kwargs"]
	m.frame = newFrame(f, append(slices.Clone(m.params), "caller", "varargs", "kwargs")...)
	r.body(m.frame, m.body, false)
}

func targetNames(target expr) []string {
	switch t := target.(type) {
	case *nameExpr:
		return []string{t.name}
	case *tupleExpr:
		var names []string
		for _, one := range t.items {
			names = append(names, targetNames(one)...)
		}
		return names
	}
	return nil
}

// expr records the names that an expression reads.
func (r resolver) expr(f *frame, e expr) {
	walkExpr(e, func(e expr) {
		if n, ok := e.(*nameExpr); ok && !f.finds(n.name) {
			f.read(n.name)
		}
	})
}

// checkFunctions reports unknown filters and tests. In a branch (soft) they are reported
// only when used.
func checkFunctions(e expr, soft bool) {
	switch e := e.(type) {
	case nil:
		return
	case *condExpr:
		soft = true
	case *filterExpr:
		if filterFunctions[e.name] == nil && !soft {
			panic(parseFailure{&Error{Line: e.line, Reason: "No filter named '" + e.name + "'"}})
		}
	case *testExpr:
		if testFunctions[e.name] == nil && !soft {
			panic(parseFailure{&Error{Line: e.line, Reason: "No test named '" + e.name + "'"}})
		}
	}
	for _, child := range children(e) {
		checkFunctions(child, soft)
	}
}

// freeNames returns the names that statements read at any depth, except in macros.
func freeNames(body []stmt) map[string]bool {
	free := map[string]bool{}
	walkBody(body, func(e expr) {
		if n, ok := e.(*nameExpr); ok {
			free[n.name] = true
		}
	})
	return free
}

func walkExpr(e expr, f func(expr)) {
	if e == nil {
		return
	}
	f(e)
	for _, child := range children(e) {
		walkExpr(child, f)
	}
}

// walkBody calls f for every expression in statements except assignment targets.
func walkBody(body []stmt, f func(expr)) {
	for _, s := range body {
		switch s := s.(type) {
		case *outputStmt:
			walkExpr(s.value, f)
		case *ifStmt:
			for i, test := range s.tests {
				walkExpr(test, f)
				walkBody(s.bodies[i], f)
			}
			walkBody(s.last, f)
		case *forStmt:
			walkExpr(s.iter, f)
			walkExpr(s.test, f)
			walkBody(s.body, f)
			walkBody(s.last, f)
		case *setStmt:
			walkExpr(s.value, f)
		case *setBlock:
			walkExpr(s.filter, f)
			walkBody(s.body, f)
		case *macroStmt:
			walkMacro(s, f)
		case *generationBlock:
			walkMacro(s.macro, f)
		case *callBlock:
			walkExpr(s.call, f)
			walkMacro(s.macro, f)
		case *filterBlock:
			walkExpr(s.filter, f)
			walkBody(s.body, f)
		case *withStmt:
			for _, v := range s.values {
				walkExpr(v, f)
			}
			walkBody(s.body, f)
		}
	}
}

func walkMacro(m *macroStmt, f func(expr)) {
	for _, d := range m.defaults {
		walkExpr(d, f)
	}
	walkBody(m.body, f)
}

// children returns the direct subexpressions that are not nil.
func children(e expr) []expr {
	var all []expr
	switch e := e.(type) {
	case *tupleExpr:
		all = e.items
	case *listExpr:
		all = e.items
	case *dictExpr:
		all = slices.Concat(e.keys, e.values)
	case *condExpr:
		all = []expr{e.test, e.then, e.otherwise}
	case *logicExpr:
		all = []expr{e.left, e.right}
	case *notExpr:
		all = []expr{e.inner}
	case *unaryExpr:
		all = []expr{e.inner}
	case *binaryExpr:
		all = []expr{e.left, e.right}
	case *concatExpr:
		all = e.items
	case *compareExpr:
		all = append([]expr{e.first}, e.rest...)
	case *attrExpr:
		all = []expr{e.object}
	case *itemExpr:
		all = []expr{e.object, e.index}
	case *sliceExpr:
		all = []expr{e.lo, e.hi, e.step}
	case *callExpr:
		all = append([]expr{e.callee}, e.all()...)
	case *filterExpr:
		all = append([]expr{e.inner}, e.all()...)
	case *testExpr:
		all = append([]expr{e.inner}, e.all()...)
	}
	return slices.DeleteFunc(slices.Clone(all), func(e expr) bool { return e == nil })
}

func (a *callArgs) all() []expr {
	return slices.Concat(a.args, a.named, []expr{a.star, a.dict})
}
