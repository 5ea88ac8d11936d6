package jinja

import (
	"fmt"
	"slices"
)

// maxNesting limits nested brackets and statements. Python's stack overflows earlier.
const maxNesting = 100

// parser follows jinja2's parser (jinja2/parser.py).
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int // loops around the statement, within its function
}

// parseFailure unwinds the parser; Parse recovers it.
type parseFailure struct{ err error }

func (p *parser) fail(format string, args ...any) {
	p.failAt(p.peek().line, format, args...)
}

func (p *parser) failAt(line int, format string, args ...any) {
	panic(parseFailure{&Error{Line: line, Reason: fmt.Sprintf(format, args...)}})
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) lookahead() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if p.at+1 < len(p.tokens) {
		p.at++
	}
	return t
}

func (p *parser) isOp(op string) bool {
	return p.peek().kind == operatorToken && p.peek().text == op
}

func (p *parser) isName(names ...string) bool {
	return p.peek().kind == nameToken && slices.Contains(names, p.peek().text)
}

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail("expected '%s', got '%v'", op, p.peek())
	}
}

func (p *parser) expectKind(kind tokenKind, what string) token {
	if p.peek().kind != kind {
		p.fail("expected %s, got '%v'", what, p.peek())
	}
	return p.next()
}

func (p *parser) expectName(name string) {
	if !p.skipName(name) {
		p.fail("expected '%s', got '%v'", name, p.peek())
	}
}

// enter counts the nesting level; use: defer p.enter()().
func (p *parser) enter() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail("brackets or statements are nested too deeply")
	}
	return func() { p.depth-- }
}

func (p *parser) expression(withCond bool) expr {
	defer p.enter()()
	if withCond {
		return p.cond()
	}
	return p.or()
}

func (p *parser) cond() expr {
	line := p.peek().line
	left := p.or()
	for p.skipName("if") {
		test := p.or()
		var otherwise expr
		if p.skipName("else") {
			leave := p.enter()
			otherwise = p.cond()
			leave()
		}
		left = &condExpr{test, left, otherwise, line}
	}
	return left
}

func (p *parser) or() expr {
	left := p.and()
	for p.skipName("or") {
		left = &logicExpr{false, left, p.and()}
	}
	return left
}

func (p *parser) and() expr {
	left := p.not()
	for p.skipName("and") {
		left = &logicExpr{true, left, p.not()}
	}
	return left
}

func (p *parser) not() expr {
	if p.skipName("not") {
		defer p.enter()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	c := &compareExpr{first: p.sum()}
	for {
		t := p.peek()
		switch {
		case t.kind == operatorToken && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
			p.next()
			c.ops = append(c.ops, t.text)
		case p.skipName("in"):
			c.ops = append(c.ops, "in")
		case p.isName("not") && p.lookahead().kind == nameToken && p.lookahead().text == "in":
			p.next()
			p.next()
			c.ops = append(c.ops, "not in")
		default:
			if len(c.ops) == 0 {
				return c.first
			}
			return c
		}
		c.rest = append(c.rest, p.sum())
	}
}

func (p *parser) sum() expr {
	left := p.concat()
	for p.isOp("+") || p.isOp("-") {
		op := p.next().text
		left = &binaryExpr{op, left, p.concat()}
	}
	return left
}

func (p *parser) concat() expr {
	items := []expr{p.term()}
	for p.skipOp("~") {
		items = append(items, p.term())
	}
	if len(items) == 1 {
		return items[0]
	}
	return &concatExpr{items}
}

func (p *parser) term() expr {
	left := p.power()
	for p.isOp("*") || p.isOp("/") || p.isOp("//") || p.isOp("%") {
		op := p.next().text
		left = &binaryExpr{op, left, p.power()}
	}
	return left
}

// power is left-associative, as in jinja2 (unlike Python).
func (p *parser) power() expr {
	left := p.unary(true)
	for p.skipOp("**") {
		left = &binaryExpr{"**", left, p.unary(true)}
	}
	return left
}

func (p *parser) unary(withFilter bool) expr {
	var e expr
	if p.isOp("-") || p.isOp("+") {
		leave := p.enter()
		op := p.next().text
		e = &unaryExpr{op, p.unary(false)}
		leave()
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if withFilter {
		e = p.filters(e)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case nameToken:
		switch t.text {
		case "true", "True":
			return &constant{true}
		case "false", "False":
			return &constant{false}
		case "none", "None":
			return &constant{nil}
		}
		return &nameExpr{t.text}
	case stringToken:
		text := t.text
		for p.peek().kind == stringToken {
			text += p.next().text
		}
		return &constant{text}
	case numberToken:
		return &constant{t.value}
	case operatorToken:
		switch t.text {
		case "(":
			e := p.tuple(tupleRules{withCond: true, brackets: true})
			p.expectOp(")")
			return e
		case "[":
			return &listExpr{p.list()}
		case "{":
			return p.dict()
		}
	}
	p.failAt(t.line, "unexpected '%v'", t)
	return nil
}

// tupleRules are the rules for a tuple without brackets.
type tupleRules struct {
	withCond bool
	brackets bool
	end      string // a name that ends it
}

func (p *parser) tuple(rules tupleRules) expr {
	return p.tupleOf(rules, func() expr { return p.expression(rules.withCond) })
}

func (p *parser) tupleOf(rules tupleRules, item func() expr) expr {
	var items []expr
	isTuple := false
	for {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if k := p.peek().kind; k == variableEnd || k == blockEnd || p.isOp(")") || rules.end != "" && p.isName(rules.end) {
			break
		}
		items = append(items, item())
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) == 1 {
			return items[0]
		}
		if !rules.brackets {
			p.fail("Expected an expression, got '%v'", p.peek())
		}
	}
	return &tupleExpr{items}
}

func (p *parser) list() []expr {
	var items []expr
	for !p.isOp("]") {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if p.isOp("]") {
			break
		}
		items = append(items, p.expression(true))
	}
	p.expectOp("]")
	return items
}

func (p *parser) dict() expr {
	d := &dictExpr{}
	for !p.isOp("}") {
		if len(d.keys) > 0 {
			p.expectOp(",")
		}
		if p.isOp("}") {
			break
		}
		d.keys = append(d.keys, p.expression(true))
		p.expectOp(":")
		d.values = append(d.values, p.expression(true))
	}
	p.expectOp("}")
	return d
}

func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.isOp("."):
			p.next()
			e = p.dotted(e)
		case p.isOp("["):
			p.next()
			e = p.subscript(e)
		case p.isOp("("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) dotted(e expr) expr {
	t := p.next()
	if t.kind == nameToken {
		return &attrExpr{e, t.text}
	}
	if n, ok := t.value.(int64); ok && t.kind == numberToken {
		return &itemExpr{e, &constant{n}}
	}
	p.failAt(t.line, "expected name or number")
	return nil
}

func (p *parser) subscript(e expr) expr {
	var items []expr
	for !p.isOp("]") {
		if len(items) > 0 {
			p.expectOp(",")
		}
		items = append(items, p.subscribed())
	}
	p.expectOp("]")
	if len(items) == 1 {
		return &itemExpr{e, items[0]}
	}
	return &itemExpr{e, &tupleExpr{items}}
}

func (p *parser) subscribed() expr {
	s := &sliceExpr{}
	if !p.isOp(":") {
		s.lo = p.expression(true)
		if !p.isOp(":") {
			return s.lo
		}
	}
	p.next()
	ends := func() bool { return p.isOp("]") || p.isOp(",") }
	if !p.isOp(":") && !ends() {
		s.hi = p.expression(true)
	}
	if p.skipOp(":") && !ends() {
		s.step = p.expression(true)
	}
	return s
}

func (p *parser) call(e expr) expr {
	line := p.peek().line
	return &callExpr{e, p.arguments(), line}
}

func (p *parser) arguments() callArgs {
	line := p.peek().line
	p.expectOp("(")
	var a callArgs
	ensure := func(ok bool) {
		if !ok {
			p.failAt(line, "invalid syntax for function call expression")
		}
	}
	for first := true; !p.isOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.isOp(")") {
				break
			}
		}
		switch {
		case p.skipOp("*"):
			ensure(a.star == nil && a.dict == nil)
			a.star = p.expression(true)
		case p.skipOp("**"):
			ensure(a.dict == nil)
			a.dict = p.expression(true)
		case p.peek().kind == nameToken && p.lookahead().kind == operatorToken && p.lookahead().text == "=":
			ensure(a.dict == nil)
			name := p.next().text
			p.next()
			ensure(!slices.Contains(a.names, name))
			a.names, a.named = append(a.names, name), append(a.named, p.expression(true))
		default:
			ensure(a.star == nil && a.dict == nil && len(a.names) == 0)
			a.args = append(a.args, p.expression(true))
		}
	}
	p.expectOp(")")
	return a
}

// filters parses filters, tests and calls after an expression.
func (p *parser) filters(e expr) expr {
	for {
		switch {
		case p.skipOp("|"):
			e = p.filter(e)
		case p.isName("is"):
			e = p.test(e)
		case p.isOp("("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) dottedName() string {
	name := p.expectKind(nameToken, "a name").text
	for p.skipOp(".") {
		name += "." + p.expectKind(nameToken, "a name").text
	}
	return name
}

// filter parses a filter after its bar.
func (p *parser) filter(inner expr) expr {
	f := &filterExpr{inner: inner, line: p.peek().line}
	f.name = p.dottedName()
	if p.isOp("(") {
		f.callArgs = p.arguments()
	}
	return f
}

func (p *parser) test(inner expr) expr {
	t := &testExpr{inner: inner, line: p.next().line}
	negated := p.skipName("not")
	t.name = p.dottedName()
	switch k := p.peek(); {
	case p.isOp("("):
		t.callArgs = p.arguments()
	case p.isName("else", "or", "and"):
	case k.kind == nameToken || k.kind == stringToken || k.kind == numberToken || p.isOp("[") || p.isOp("{"):
		if p.isName("is") {
			p.fail("You cannot chain multiple tests with is")
		}
		t.args = []expr{p.postfix(p.primary())}
	}
	if negated {
		return &notExpr{t}
	}
	return t
}
