package jinja

import (
	"fmt"
	"strings"
)

// maxSource limits the bytes of a template. The longest published ones have some 50 KB.
const maxSource = 256 << 10

// Parse parses a template. The error is an *Error.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, &Error{Reason: fmt.Sprintf("it has %d bytes, more than %d", len(source), maxSource)}
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case parseFailure:
			t, err = nil, r.err
		default:
			t, err = nil, &Error{Reason: fmt.Sprint(r)}
		}
	}()
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, _ := p.statements("")
	root := resolveNames(body)
	return &Template{body: body, frame: root}, nil
}

// statements parses statements up to a tag with one of the names ends, and returns that name.
// The tag's name is consumed, but not its end.
func (p *parser) statements(opened string, ends ...string) ([]stmt, string) {
	defer p.enter()()
	var body []stmt
	for {
		t := p.next()
		switch t.kind {
		case dataToken:
			body = append(body, &dataStmt{t.text})
		case variableBegin:
			e := p.tuple(tupleRules{withCond: true})
			p.expectKind(variableEnd, "'}}'")
			body = append(body, &outputStmt{e, t.line})
		case blockBegin:
			if p.isName(ends...) {
				return body, p.next().text
			}
			body = append(body, p.statement(opened, ends)...)
			p.expectKind(blockEnd, "'%}'")
		case endOfText:
			if len(ends) > 0 {
				p.failAt(t.line, "the template ends inside '%s'; expected '%s'", opened, strings.Join(ends, "' or '"))
			}
			return body, ""
		default:
			p.failAt(t.line, "unexpected '%v'", t)
		}
	}
}

// bodyOf parses the end of an opening tag and the statements after it.
func (p *parser) bodyOf(opened string, ends ...string) ([]stmt, string) {
	p.skipOp(":") // jinja2 allows a colon, as in Python
	p.expectKind(blockEnd, "'%}'")
	return p.statements(opened, ends...)
}

// functionBody parses statements that are a function of their own, in which break and
// continue do not apply to loops outside.
func (p *parser) functionBody(opened, end string) []stmt {
	loops := p.loops
	p.loops = 0
	body, _ := p.bodyOf(opened, end)
	p.loops = loops
	return body
}

func (p *parser) statement(opened string, ends []string) []stmt {
	t := p.expectKind(nameToken, "tag name")
	one := func(s stmt) []stmt { return []stmt{s} }
	switch t.text {
	case "for":
		return one(p.forLoop(t.line))
	case "if":
		return one(p.ifElse(t.line))
	case "set":
		return one(p.set(t.line))
	case "macro":
		return one(p.macro(t.line))
	case "call":
		return one(p.callBlock(t.line))
	case "filter":
		f := p.filterChain(p.filter(nil))
		body, _ := p.bodyOf("filter", "endfilter")
		return one(&filterBlock{filter: f, body: body, line: t.line})
	case "with":
		return one(p.with(t.line))
	case "print":
		return p.print()
	case "generation":
		return one(&generationBlock{&macroStmt{name: "caller", body: p.functionBody("generation", "endgeneration"), line: t.line}, t.line})
	case "break", "continue":
		if p.loops == 0 {
			p.failAt(t.line, "'%s' outside of a loop", t.text)
		}
		if t.text == "break" {
			return one(breakStmt{})
		}
		return one(continueStmt{})
	case "block", "extends", "include", "import", "from", "autoescape":
		p.failAt(t.line, "'%s' is not for chat templates", t.text)
	}
	hint := ""
	if len(ends) > 0 {
		hint = fmt.Sprintf("; the innermost open tag is '%s'", opened)
	}
	p.failAt(t.line, "Encountered unknown tag '%s'%s", t.text, hint)
	return nil
}

func (p *parser) filterChain(f expr) expr {
	for p.skipOp("|") {
		f = p.filter(f)
	}
	return f
}

func (p *parser) forLoop(line int) stmt {
	f := &forStmt{line: line}
	f.target = p.target(tupleRules{end: "in"}, false)
	p.expectName("in")
	f.iter = p.tuple(tupleRules{end: "recursive"})
	if p.skipName("if") {
		f.test = p.expression(true)
	}
	f.recursive = p.skipName("recursive")
	if assigns(f.target, "loop") {
		p.failAt(line, "can't assign to special loop variable in for-loop")
	}
	p.loops++
	body, end := p.bodyOf("for", "endfor", "else")
	p.loops--
	f.body = body
	if end == "else" {
		f.last, _ = p.bodyOf("for", "endfor")
	}
	return f
}

func assigns(target expr, name string) bool {
	switch t := target.(type) {
	case *nameExpr:
		return t.name == name
	case *tupleExpr:
		for _, one := range t.items {
			if assigns(one, name) {
				return true
			}
		}
	}
	return false
}

func (p *parser) ifElse(line int) stmt {
	s := &ifStmt{line: line}
	for {
		s.tests = append(s.tests, p.tuple(tupleRules{}))
		body, end := p.bodyOf("if", "elif", "else", "endif")
		s.bodies = append(s.bodies, body)
		switch end {
		case "endif":
			return s
		case "else":
			s.last, _ = p.bodyOf("if", "endif")
			return s
		}
	}
}

func (p *parser) set(line int) stmt {
	target := p.target(tupleRules{}, true)
	if p.skipOp("=") {
		return &setStmt{target, p.tuple(tupleRules{withCond: true}), line}
	}
	s := &setBlock{target: target, line: line}
	if p.isOp("|") {
		p.next()
		s.filter = p.filterChain(p.filter(nil))
	}
	s.body, _ = p.bodyOf("set", "endset")
	return s
}

// target parses the target of set, for and with: names, tuples of them, and in set also
// attributes of namespaces.
func (p *parser) target(rules tupleRules, namespaces bool) expr {
	t := p.tupleOf(rules, func() expr {
		if namespaces && p.peek().kind == nameToken && p.lookahead().kind == operatorToken && p.lookahead().text == "." {
			name := p.next().text
			p.next()
			return &namespaceRef{name, p.expectKind(nameToken, "a name").text}
		}
		return p.primary()
	})
	if !assignable(t) {
		p.fail("can't assign to this expression")
	}
	return t
}

func assignable(e expr) bool {
	switch e := e.(type) {
	case *nameExpr, *namespaceRef:
		return true
	case *tupleExpr:
		for _, one := range e.items {
			if !assignable(one) {
				return false
			}
		}
		return true
	}
	return false
}

// signature parses a macro's parameters.
func (p *parser) signature(m *macroStmt) {
	p.expectOp("(")
	for !p.isOp(")") {
		if len(m.params) > 0 {
			p.expectOp(",")
		}
		m.params = append(m.params, p.parameterName())
		if p.skipOp("=") {
			m.defaults = append(m.defaults, p.expression(true))
		} else if len(m.defaults) > 0 {
			p.fail("non-default argument follows default argument")
		}
	}
	p.expectOp(")")
}

func (p *parser) parameterName() string {
	t := p.expectKind(nameToken, "a name")
	switch t.text {
	case "true", "false", "none", "True", "False", "None":
		p.failAt(t.line, "can't assign to '%s'", t.text)
	}
	return t.text
}

func (p *parser) macro(line int) stmt {
	m := &macroStmt{line: line, name: p.parameterName()}
	p.signature(m)
	m.body = p.functionBody("macro", "endmacro")
	return m
}

func (p *parser) callBlock(line int) stmt {
	m := &macroStmt{line: line, name: "caller"}
	if p.isOp("(") {
		p.signature(m)
	}
	call, ok := p.expression(true).(*callExpr)
	if !ok {
		p.failAt(line, "expected call")
	}
	m.body = p.functionBody("call", "endcall")
	return &callBlock{call, m, line}
}

func (p *parser) with(line int) stmt {
	w := &withStmt{line: line}
	for p.peek().kind != blockEnd {
		if len(w.targets) > 0 {
			p.expectOp(",")
		}
		w.targets = append(w.targets, p.target(tupleRules{}, false))
		p.expectOp("=")
		w.values = append(w.values, p.expression(true))
	}
	w.body, _ = p.bodyOf("with", "endwith")
	return w
}

func (p *parser) print() []stmt {
	var out []stmt
	line := p.peek().line
	for p.peek().kind != blockEnd {
		if len(out) > 0 {
			p.expectOp(",")
		}
		out = append(out, &outputStmt{p.expression(true), line})
	}
	return out
}
