package chat

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// compile sets Jinja up as Transformers does (utils/chat_template_utils.py):
// trim_blocks, lstrip_blocks, its extra functions, and nothing of the outside.
func compile(source string) (*exec.Template, error) {
	c := config.New()
	c.TrimBlocks, c.LeftStripBlocks = true, true
	if err := vet(source, c); err != nil {
		return nil, err
	}
	environment := exec.Environment{Filters: filters, Tests: gonja.DefaultEnvironment.Tests, ControlStructures: statements, Methods: methods}
	environment.Context = exec.EmptyContext().Update(gonja.DefaultContext).Update(exec.NewContext(map[string]any{
		"raise_exception": raiseException,
		"strftime_now":    strftimeNow,
		"range":           boundedRange,
		"lipsum":          nil,
	}))
	return exec.NewTemplate(templateName, c, sealed{source}, &environment)
}

const templateName = "chat_template"

// sealed holds one template, which cannot include files.
type sealed struct{ source string }

func (s sealed) Read(name string) (io.Reader, error) {
	if name != templateName {
		return nil, errors.New("a chat template may not read other files")
	}
	return strings.NewReader(s.source), nil
}

func (s sealed) Resolve(name string) (string, error)         { return name, nil }
func (s sealed) Inherit(from string) (loaders.Loader, error) { return s, nil }

func raiseException(_ *exec.Evaluator, args *exec.VarArgs) (string, error) {
	var reason string
	if err := args.Take(exec.PositionalArgument("message", nil, exec.StringArgument(&reason))); err != nil {
		return "", exec.ErrInvalidCall(err)
	}
	return "", errors.New(reason)
}

// strftimeNow is the time of rendering in the formats that templates use.
func strftimeNow(_ *exec.Evaluator, args *exec.VarArgs) (string, error) {
	var format string
	if err := args.Take(exec.PositionalArgument("format", nil, exec.StringArgument(&format))); err != nil {
		return "", exec.ErrInvalidCall(err)
	}
	now := time.Now()
	return strings.NewReplacer(
		"%Y", now.Format("2006"), "%m", now.Format("01"), "%d", now.Format("02"), "%B", now.Format("January"),
		"%b", now.Format("Jan"), "%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"), "%%", "%",
	).Replace(format), nil
}

// maxRange is that of Jinja's sandbox.
const maxRange = 100000

// boundedRange is range([start,] stop[, step]) of at most maxRange numbers.
func boundedRange(e *exec.Evaluator, args *exec.VarArgs) ([]int, error) {
	m, err := meterOf(e.Environment.Context)
	if err != nil {
		return nil, err
	}
	start, stop, step := 0, 0, 1
	for i, target := range rangeArguments(len(args.Args), &start, &stop, &step) {
		if !args.Args[i].IsInteger() {
			return nil, exec.ErrInvalidCall(errors.New("range takes integers"))
		}
		*target = args.Args[i].Integer()
	}
	if len(args.Args) < 1 || len(args.Args) > 3 || step == 0 {
		return nil, exec.ErrInvalidCall(errors.New("range takes [start,] stop[, step]"))
	}
	var out []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if m.ranged++; len(out) == maxRange || m.ranged > maxRanged {
			return nil, errRange
		}
		out = append(out, i)
	}
	return out, nil
}

func rangeArguments(count int, start, stop, step *int) []*int {
	switch count {
	case 1:
		return []*int{stop}
	case 2:
		return []*int{start, stop}
	case 3:
		return []*int{start, stop, step}
	}
	return nil
}
