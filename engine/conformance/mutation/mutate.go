// Package mutation plants small errors in the WGSL of kernels, for the conformance suite
// to detect: an error that no case detects shows what the cases do not test.
package mutation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mutant is one planted error: a range of a file's text and its replacement.
type Mutant struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Start  int    `json:"start"` // bytes [Start,End) of the file
	End    int    `json:"end"`
	Before string `json:"before"`
	After  string `json:"after"`
	Kind   Kind   `json:"kind"`
}

// Kind is the kind of a mutant's error.
type Kind string

// Kinds of mutants.
const (
	Arithmetic Kind = "arithmetic" // + for -, * for /
	Comparison Kind = "comparison" // < for <=, == for !=
	Logic      Kind = "logic"      // && for ||
	Constant   Kind = "constant"   // an integer off by one, a float doubled
	Parameter  Kind = "parameter"  // a size or a flag of the call off by one
	Function   Kind = "function"   // min for max, one load for another
	Component  Kind = "component"  // .x for .y
	Condition  Kind = "condition"  // a branch always or never taken, a select with swapped arguments
	Statement  Kind = "statement"  // an assignment, a store or a barrier left out
)

// Apply returns the file's text with the error in it.
func (m Mutant) Apply(text string) string { return text[:m.Start] + m.After + text[m.End:] }

// String describes the change and its place.
func (m Mutant) String() string {
	after := m.After
	if after == "" {
		after = "nothing"
	}
	return fmt.Sprintf("%s:%d: %s → %s", m.File, m.Line, oneLine(m.Before), oneLine(after))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Names are the declarations that a file's text uses.
type Names struct {
	Loads  map[string]string // by a load's name, another that may replace it
	Params map[string]string // by a parameter's name, its type
}

// Of lists every mutant of a file, in the order of the text.
func Of(file, text string, names Names) []Mutant {
	w := writer{file: file, text: text, tokens: scan(text), names: names}
	w.findLoops()
	for i := range w.tokens {
		w.operator(i)
		w.literal(i)
		w.word(i)
		w.branch(i)
		w.choice(i)
		w.statement(i)
	}
	slices.SortStableFunc(w.mutants, func(a, b Mutant) int { return cmp.Compare(a.Start, b.Start) })
	return w.mutants
}

type writer struct {
	file, text string
	tokens     []token
	names      Names
	loops      map[int]bool // tokens in the head of a for
	steps      map[int]bool // those in its third part
	mutants    []Mutant
}

// add adds the mutant that replaces tokens first to last by after.
func (w *writer) add(kind Kind, first, last int, after string) {
	start := w.tokens[first].at
	end := w.tokens[last].at + len(strings.NewReplacer("‹", "<", "›", ">").Replace(w.tokens[last].text))
	w.mutants = append(w.mutants, Mutant{w.file, w.tokens[first].line, start, end, w.text[start:end], after, kind})
}

func (w *writer) is(i int, texts ...string) bool {
	return i >= 0 && i < len(w.tokens) && slices.Contains(texts, w.tokens[i].text)
}

// findLoops finds the heads of loops. Most errors in a loop's step make it endless, which
// hangs a real device.
func (w *writer) findLoops() {
	w.loops, w.steps = map[int]bool{}, map[int]bool{}
	for i := range w.tokens {
		if !w.is(i, "for") {
			continue
		}
		semicolons := 0
		for j := i + 1; j < closing(w.tokens, i+1); j++ {
			if w.is(j, ";") {
				semicolons++
			}
			w.loops[j], w.steps[j] = true, semicolons == 2
		}
	}
}

var operators = map[string]struct {
	kind  Kind
	after string
}{
	"+": {Arithmetic, "-"}, "-": {Arithmetic, "+"}, "*": {Arithmetic, "/"}, "/": {Arithmetic, "*"}, "%": {Arithmetic, "/"},
	"<": {Comparison, "<="}, "<=": {Comparison, "<"}, ">": {Comparison, ">="}, ">=": {Comparison, ">"},
	"==": {Comparison, "!="}, "!=": {Comparison, "=="}, "&&": {Logic, "||"}, "||": {Logic, "&&"}, "&": {Logic, "|"}, "|": {Logic, "&"},
	"<<": {Arithmetic, ">>"}, ">>": {Arithmetic, "<<"},
}

func (w *writer) operator(i int) {
	o, ok := operators[w.tokens[i].text]
	if !ok || i == 0 || !operand(w.tokens[i-1]) || w.steps[i] {
		return
	}
	if w.is(i, ">") && w.is(i+1, "0u") {
		return // no unsigned number is below 0, so the loop would be endless
	}
	w.add(o.kind, i, i, o.after)
}

// literal changes numbers, except those in attributes.
func (w *writer) literal(i int) {
	text := w.tokens[i].text
	if i >= 2 && w.is(i-1, "(") && w.is(i-2, "workgroup_size", "binding", "group") && w.is(i-3, "@") {
		return
	}
	switch {
	case isInteger.MatchString(text):
		suffix := strings.TrimLeft(text, "0123456789")
		n, err := strconv.Atoi(strings.TrimSuffix(text, suffix))
		if err != nil || n == 2147483647 {
			return
		}
		if !w.is(i+1, "›") { // else an array with one more element
			w.add(Constant, i, i, strconv.Itoa(n+1)+suffix)
		}
		if n > 1 && !w.steps[i] {
			w.add(Constant, i, i, strconv.Itoa(n-1)+suffix)
		}
	case isFloat.MatchString(text):
		if v, err := strconv.ParseFloat(strings.TrimSuffix(text, "f"), 64); err == nil && v == 0 {
			w.add(Constant, i, i, "1.0")
		} else {
			w.add(Constant, i, i, "(2.0 * "+text+")")
		}
	}
}

var functions = map[string]string{
	"min": "max", "max": "min", "floor": "ceil", "group_sum": "group_max", "group_max": "group_sum",
}

// shapes are functions whose results could be mistaken for their arguments.
var shapes = []string{"sqrt", "transpose", "exp_f32", "log_f32", "sigmoid_f32", "gelu_inner"}

var components = map[string]string{"x": "y", "y": "x", "z": "w", "w": "z"}

func (w *writer) word(i int) {
	text := w.tokens[i].text
	called := w.is(i+1, "(") && !w.is(i-1, "fn")
	switch other := functions[text]; {
	case called && other != "":
		w.add(Function, i, i, other)
	case called && slices.Contains(shapes, text):
		w.add(Function, i, i, "") // the argument itself
	}
	if other := w.names.Loads[text]; called && other != "" {
		w.add(Function, i, i, other)
	}
	if other := components[text]; other != "" && w.is(i-1, ".") && !w.is(i-2, "group", "groups", "id", "p") {
		w.add(Component, i, i, other)
	}
	if !w.is(i-1, ".") || !w.is(i-2, "p") || w.steps[i] {
		return
	}
	switch w.names.Params[text] {
	case "u32":
		w.add(Parameter, i-2, i, "(p."+text+" + 1u)")
	case "f32":
		w.add(Parameter, i-2, i, "(2.0 * p."+text+")")
	}
}

// branch replaces the condition of an if by true and false.
func (w *writer) branch(i int) {
	if !w.is(i, "if") {
		return
	}
	end := closing(w.tokens, i+1)
	w.add(Condition, i+1, end, "(true)")
	w.add(Condition, i+1, end, "(false)")
}

// choice swaps the arguments of a select.
func (w *writer) choice(i int) {
	if !w.is(i, "select") {
		return
	}
	end := closing(w.tokens, i+1)
	depth, last := 0, i+1
	for j := i + 2; j < end; j++ {
		switch {
		case w.is(j, "(", "[", "‹"):
			depth++
		case w.is(j, ")", "]", "›"):
			depth--
		case w.is(j, ",") && depth == 0:
			last = j
		}
	}
	from, to := w.tokens[last+1].at, w.tokens[end].at
	w.add(Condition, last+1, end, "!("+w.text[from:to]+"))")
}

// statement removes calls and assignments.
func (w *writer) statement(i int) {
	begins := w.is(i-1, ";", "{", "}") && isWord.MatchString(w.tokens[i].text)
	if !begins || w.is(i, "let", "var", "const", "return", "if", "else", "for", "fn", "struct", "continue", "break") || w.loops[i] {
		return
	}
	end := i
	for end < len(w.tokens) && !w.is(end, ";", "{", "}") {
		if w.is(end, ":") {
			return // a struct's member
		}
		end++
	}
	if w.is(end, ";") && end > i+1 {
		w.add(Statement, i, end, "")
	}
}
