package chat

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	structures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// statements are those that templates may use: blocks, which can call themselves, and
// other files are left out.
var statements = func() *exec.ControlStructureSet {
	kept := map[string]parser.ControlStructureParser{}
	for _, name := range []string{"for", "if", "set", "macro", "raw", "with", "do", "break", "continue", "call", "filter", "trans", "autoescape"} {
		if parse, ok := builtins.ControlStructures.Get(name); ok {
			kept[name] = metered(name, parse)
		}
	}
	return exec.NewControlStructureSet(kept)
}()

// metered makes a statement tell the meter of its execution.
func metered(name string, parse parser.ControlStructureParser) parser.ControlStructureParser {
	return func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		target := ""
		if first := args.Current(tokens.Name); name == "set" && first != nil {
			target = first.Val
		}
		inner, err := parse(p, args)
		if s, ok := inner.(exec.ControlStructure); ok && err == nil {
			return &statement{s, target}, nil
		}
		return inner, err
	}
}

type statement struct {
	exec.ControlStructure
	target string // of set: the variable
}

func (s *statement) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	variables := r.Environment.Context
	m, err := meterOf(variables)
	if err == nil {
		err = m.tick()
	}
	if err != nil {
		return err
	}
	if err := s.ControlStructure.Execute(r, tag); err != nil {
		return err
	}
	if macro, ok := s.ControlStructure.(*structures.MacroControlStructure); ok {
		if f, _ := variables.Get(macro.Name); f != nil {
			variables.Set(macro.Name, m.once(f.(exec.Macro)))
		}
	}
	if s.target != "" {
		value, _ := variables.Get(s.target)
		return m.sized(value)
	}
	return nil
}

// filters are Jinja's without those that pad, which make a text of any length.
var filters = func() *exec.FilterSet {
	kept := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters)
	refuse := func(name string) {
		_ = kept.Replace(name, func(*exec.Evaluator, *exec.Value, *exec.VarArgs) *exec.Value {
			return exec.AsValue(fmt.Errorf("the filter %s is not for chat templates", name))
		})
	}
	for _, name := range []string{"batch", "center", "filesizeformat", "format", "indent", "slice", "urlize", "wordwrap", "xmlattr"} {
		refuse(name)
	}
	for _, name := range []string{"join", "replace", "tojson"} {
		if f, ok := builtins.Filters.Get(name); ok {
			_ = kept.Replace(name, bounded(f))
		}
	}
	return kept
}()

// bounded refuses what could multiply texts with each other: the longest argument for
// every character of the value.
func bounded(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		m, err := meterOf(e.Environment.Context)
		if err != nil {
			return exec.AsValue(err)
		}
		if err := m.fits(product(in, params)); err != nil {
			return exec.AsValue(err)
		}
		return f(e, in, params)
	}
}

// product is the longest text that a filter could make by putting an argument
// between, or in place of, parts of its value; numbers count as widths.
func product(in *exec.Value, params *exec.VarArgs) int {
	longest := 1
	measure := func(v *exec.Value) {
		if v.IsInteger() {
			longest = max(longest, v.Integer())
			return
		}
		longest = max(longest, len(v.String()))
	}
	for _, v := range params.Args {
		measure(v)
	}
	for _, v := range params.KwArgs {
		measure(v)
	}
	parts := 1 + in.Len()
	if in.IsString() && len(params.Args) > 0 { // replace: as often as the first argument occurs
		parts = 1 + strings.Count(in.String(), params.Args[0].String())
	}
	return sizeOf(in, 8) + parts*min(longest, 1<<30)
}

// methods are Python's of strings, without those that pad.
var methods = func() exec.Methods {
	kept := map[string]exec.Method[string]{}
	for _, name := range []string{"capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower",
		"isnumeric", "isprintable", "isspace", "istitle", "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
		"rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper"} {
		if f, ok := builtins.Methods.Str.Get(name); ok {
			kept[name] = f
		}
	}
	if replace, ok := kept["replace"]; ok {
		kept["replace"] = func(self string, v *exec.Value, args *exec.VarArgs) (any, error) {
			if product(v, args) > spare {
				return nil, errLarge
			}
			return replace(self, v, args)
		}
	}
	join, ok := builtins.Methods.Str.Get("join")
	if ok {
		kept["join"] = func(self string, v *exec.Value, args *exec.VarArgs) (any, error) {
			if len(args.Args) > 0 && sizeOf(args.Args[0], 8)+args.Args[0].Len()*len(self) > spare {
				return nil, errLarge
			}
			return join(self, v, args)
		}
	}
	m := builtins.Methods
	m.Str = exec.NewMethodSet(kept)
	return m
}()

// vet refuses a template's text for what cannot be metered while it runs.
func vet(source string, c *config.Config) error {
	if len(source) > maxSource {
		return fmt.Errorf("it has %d bytes, more than %d", len(source), maxSource)
	}
	stream, additions, products, depth := tokens.LexAll(source, c), 0, 0, 0
	for before := (*tokens.Token)(nil); !stream.End(); {
		t := stream.Next()
		switch t.Type {
		case tokens.BlockBegin, tokens.VariableBegin:
			additions, products, depth = 0, 0, 0
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			if depth++; depth > maxBrackets {
				return errors.New("its brackets are nested too deeply")
			}
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			depth--
		case tokens.Addition, tokens.Tilde:
			if additions++; additions > maxOperator {
				return errors.New("it adds too many texts in one place")
			}
		case tokens.Multiply:
			if before != nil && (before.Type == tokens.LeftParenthesis || before.Type == tokens.Comma) {
				break // the star before a macro's arguments
			}
			if products++; products > 1 || !smallNumber(stream.Current()) {
				return fmt.Errorf("a product of texts, by anything but one number up to %d, is not for chat templates", maxFactor)
			}
		case tokens.Name:
			if t.Val == "recursive" {
				return errors.New("recursive loops are not for chat templates")
			}
		}
		before = t
	}
	return nil
}

func smallNumber(t *tokens.Token) bool {
	if t == nil || t.Type != tokens.Integer {
		return false
	}
	n, err := strconv.Atoi(t.Val)
	return err == nil && n <= maxFactor
}
