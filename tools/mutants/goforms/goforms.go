// Package goforms plants small errors in the kernels' CPU forms, all at once: each place
// computes its original value, or the mutant whose number an environment variable has. So one
// compilation serves all mutants.
package goforms

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"patchwork/engine/conformance/mutation"
)

// Variable is the environment variable that selects a mutant by its number, from 1.
const Variable = "PATCHWORK_MUTANT"

// Mutant is one planted error.
type Mutant struct {
	Number int // value of Variable
	Line   int
	Key    string // in package mutation's format
	// Kernels are those that run the place: one of their cases must detect the mutant.
	Kernels []string
}

// File is a file of the package with all of its mutants.
type File struct {
	Name    string // "gelu.go"
	Text    string
	Mutants []Mutant
}

// pkg is the shaders package, type-checked.
type pkg struct {
	set   *token.FileSet
	files map[string]*ast.File
	texts map[string]string
	info  types.Info
	types *types.Package
}

// partOf reports whether a file belongs to the package on this system.
func partOf(dir, name string) (bool, error) {
	if strings.HasSuffix(name, "_test.go") {
		return false, nil
	}
	return build.Default.MatchFile(dir, name)
}

// Load plants errors in every file of the package in dir with functions that kernels run on
// the CPU. The last file has helpers of the others.
func Load(dir string) ([]File, error) {
	p := pkg{set: token.NewFileSet(), files: map[string]*ast.File{}, texts: map[string]string{},
		info: types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}}
	names, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		return nil, err
	}
	var all []*ast.File
	for _, name := range names {
		if ok, err := partOf(dir, name); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(p.set, name, text, 0)
		if err != nil {
			return nil, err
		}
		p.files[name], p.texts[name] = f, string(text)
		all = append(all, f)
	}
	config := types.Config{Importer: importer.ForCompiler(p.set, "source", nil)}
	if p.types, err = config.Check("patchwork/shaders", p.set, all, &p.info); err != nil {
		return nil, err
	}
	return append(p.plant(), File{Name: "planted_error.go", Text: choice}), nil
}

// plant plants errors in the code of the CPU forms, file by file.
func (p *pkg) plant() []File {
	bodies := p.reachable()
	inOrder := slices.SortedFunc(maps.Keys(bodies), func(a, b *ast.BlockStmt) int { return cmp.Compare(a.Pos(), b.Pos()) })
	var files []File
	last := 0
	for _, name := range names(p.files) {
		w := &writer{pkg: p, last: last, text: p.texts[name], base: p.set.File(p.files[name].Pos()).Base()}
		w.namer = mutation.Namer{File: name, Lines: strings.Split(w.text, "\n")}
		for _, body := range inOrder {
			if p.set.Position(body.Pos()).Filename == name {
				w.kernels = bodies[body]
				w.walk(body)
			}
		}
		if len(w.mutants) > 0 {
			files = append(files, File{name, w.apply(), w.mutants})
		}
		last = w.last
	}
	return files
}

func names(files map[string]*ast.File) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// form is a kernel's CPU form.
type form struct {
	kernel string
	value  ast.Node
}

// forms are the CPU forms of Decl values with a Name and a CPU.
func (p *pkg) forms() (all []form) {
	for _, name := range names(p.files) {
		ast.Inspect(p.files[name], func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || !strings.HasPrefix(types.TypeString(p.info.Types[lit].Type, types.RelativeTo(p.types)), "Decl[") {
				return true
			}
			var f form
			for _, e := range lit.Elts {
				kv := e.(*ast.KeyValueExpr)
				switch kv.Key.(*ast.Ident).Name {
				case "Name":
					f.kernel, _ = strconv.Unquote(p.source(kv.Value))
				case "CPU":
					f.value = kv.Value
				}
			}
			if f.kernel != "" && f.value != nil {
				all = append(all, f)
			}
			return true
		})
	}
	return all
}

func (p *pkg) source(n ast.Node) string {
	from, to := p.set.Position(n.Pos()), p.set.Position(n.End())
	return p.texts[from.Filename][from.Offset:to.Offset]
}

// reachable are the bodies of the CPU forms and of the package's functions that they
// call, each with the kernels that run it.
func (p *pkg) reachable() map[*ast.BlockStmt][]string {
	functions := map[types.Object]*ast.FuncDecl{}
	for _, f := range p.files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				functions[p.info.Defs[d.Name]] = d
			}
		}
	}
	bodies := map[*ast.BlockStmt][]string{}
	for _, f := range p.forms() {
		seen := map[ast.Node]bool{}
		for queue := []ast.Node{f.value}; len(queue) > 0; queue = queue[1:] {
			switch n := queue[0].(type) {
			case *ast.FuncLit:
				bodies[n.Body] = append(bodies[n.Body], f.kernel)
			case *ast.FuncDecl:
				bodies[n.Body] = append(bodies[n.Body], f.kernel)
			}
			ast.Inspect(queue[0], func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				if !ok {
					return true
				}
				object := p.info.Uses[id]
				if f, ok := object.(*types.Func); ok {
					object = f.Origin()
				}
				if d := functions[object]; d != nil && !seen[d] {
					seen[d] = true
					queue = append(queue, d)
				}
				return true
			})
		}
	}
	return bodies
}

// writer collects insertions into a file's text.
type writer struct {
	*pkg
	text    string
	base    int
	namer   mutation.Namer
	kernels []string
	last    int // the last mutant's number
	edits   []edit
	mutants []Mutant
}

type edit struct {
	at     int
	text   string
	closes bool // at the end of the code that it encloses
}

func (w *writer) at(pos token.Pos) int { return int(pos) - w.base }

// number records a mutant and returns its number.
func (w *writer) number(n ast.Node, before, after string) int {
	line := w.set.Position(n.Pos()).Line
	w.last++
	w.mutants = append(w.mutants, Mutant{w.last, line, w.namer.Key(line, before, after), w.kernels})
	return w.last
}

func (w *writer) around(n ast.Node, before, after string) {
	w.edits = append(w.edits, edit{w.at(n.Pos()), before, false}, edit{w.at(n.End()), after, true})
}

// replace plants the expression after instead of an expression.
func (w *writer) replace(e ast.Expr, before, after string) {
	t := w.info.Types[e]
	if t.Type == nil || t.Value != nil && !isLiteral(e) {
		return
	}
	typ := types.TypeString(types.Default(t.Type), types.RelativeTo(w.types))
	w.around(e, fmt.Sprintf("planted(%d, func() %s { return %s }, func() %s { return ", w.number(e, before, after), typ, after, typ), " })")
}

func isLiteral(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}

var operators = map[token.Token]token.Token{
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.QUO,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR, token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LAND: token.LOR, token.LOR: token.LAND, token.AND: token.OR, token.OR: token.AND,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.MUL_ASSIGN: token.QUO_ASSIGN, token.QUO_ASSIGN: token.MUL_ASSIGN,
}

// walk plants errors in a body. It leaves loops' post statements, which would make them
// endless, and the grain of Parallel, which does not change results.
func (w *writer) walk(body *ast.BlockStmt) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			w.loop(n)
			return false
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Parallel" && len(n.Args) == 3 {
				w.walkAll(n.Args[0], n.Args[2])
				return false
			}
		case ast.Expr:
			if v := w.info.Types[n]; v.Value != nil && !isLiteral(n) || v.IsType() {
				return false
			}
		case *ast.GenDecl:
			return false
		}
		w.node(n)
		return true
	})
}

func (w *writer) walkAll(nodes ...ast.Node) {
	for _, n := range nodes {
		w.walk(&ast.BlockStmt{List: []ast.Stmt{statement(n)}})
	}
}

func statement(n ast.Node) ast.Stmt {
	if s, ok := n.(ast.Stmt); ok {
		return s
	}
	return &ast.ExprStmt{X: n.(ast.Expr)}
}

func (w *writer) loop(n *ast.ForStmt) {
	if n.Cond != nil {
		w.walkAll(n.Cond)
	}
	w.walk(n.Body)
}

func (w *writer) node(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if after, ok := operators[n.Op]; ok && !w.isString(n.X) {
			w.replace(n, n.Op.String(), w.source(n.X)+" "+after.String()+" "+w.source(n.Y))
		}
	case *ast.BasicLit:
		if n.Kind == token.INT {
			w.replace(n, n.Value, n.Value+" + 1")
		} else if n.Kind == token.FLOAT {
			w.replace(n, n.Value, "2 * "+n.Value)
		}
	case *ast.IfStmt:
		w.replace(n.Cond, w.source(n.Cond), "true")
		w.replace(n.Cond, w.source(n.Cond), "false")
	case *ast.AssignStmt:
		w.assignment(n)
	}
}

func (w *writer) isString(e ast.Expr) bool {
	b, ok := w.info.Types[e].Type.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// assignment drops an assignment or replaces its operator.
func (w *writer) assignment(n *ast.AssignStmt) {
	if after, ok := operators[n.Tok]; ok {
		other := w.source(n.Lhs[0]) + " " + after.String() + " " + w.source(n.Rhs[0])
		w.around(n, fmt.Sprintf("if isPlanted(%d) { %s } else { ", w.number(n, w.source(n), other), other), " }")
	} else if n.Tok == token.ASSIGN {
		w.around(n, fmt.Sprintf("if !isPlanted(%d) { ", w.number(n, w.source(n), "nothing")), " }")
	}
}

const choice = `package shaders

import (
	"os"
	"strconv"
)

var plantedNumber, _ = strconv.Atoi(os.Getenv("` + Variable + `"))

func isPlanted(number int) bool { return number == plantedNumber }

func planted[T any](number int, wrong, right func() T) T {
	if isPlanted(number) {
		return wrong()
	}
	return right()
}
`

// apply is the file's text with all insertions.
func (w *writer) apply() string {
	order := make([]int, len(w.edits))
	for i := range order {
		order[i] = i
	}
	// At one position closing insertions come first, the inner before the outer; then the
	// opening ones, the outer before the inner.
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := w.edits[i], w.edits[j]
		switch {
		case a.at != b.at:
			return a.at - b.at
		case a.closes != b.closes:
			if a.closes {
				return -1
			}
			return 1
		case a.closes:
			return j - i
		}
		return i - j
	})
	var out strings.Builder
	last := 0
	for _, i := range order {
		e := w.edits[i]
		out.WriteString(w.text[last:e.at])
		out.WriteString(e.text)
		last = e.at
	}
	out.WriteString(w.text[last:])
	return out.String()
}
