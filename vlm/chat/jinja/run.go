// Package jinja renders chat templates as Python's jinja2 does in the environment that
// Hugging Face's transformers sets up (utils/chat_template_utils.py): an immutable
// sandbox with trim_blocks and lstrip_blocks, the loop controls, {% generation %}, and
// transformers' own tojson, raise_exception and strftime_now.
//
// Templates are strangers' text. Whatever one does, rendering ends within its Limits
// and with an error, never a panic. There are no files, no other templates and nothing
// of the host but the time.
package jinja

import (
	"errors"
	"fmt"
	"time"
)

// Error is a template that cannot be parsed, or that fails when it is rendered.
type Error struct {
	Line   int // 0: unknown
	Reason string
	Slow   bool // it took more than its time
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Limits bound one rendering.
type Limits struct {
	Time  time.Duration
	Size  int // bytes of the result, and of every value
	Total int // bytes of all values together, those no longer used included
}

const (
	maxDepth      = 4000 // of expressions and statements inside each other, all calls together
	maxMacroDepth = 200
	maxValueDepth = 500 // of lists in lists
	maxRange      = 100000
	maxDigits     = 4300 // of an integer, as Python has it
	itemSize      = 32   // bytes of a list's item
)

var (
	errDepth = errors.New("it calls itself, or nests values, too deeply")
	errSlow  = errors.New("it takes too long")
	errRange = fmt.Errorf("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	body  []stmt
	frame *frame
}

// Span is a range of bytes, half open.
type Span struct{ Lo, Hi int }

// Result is what a rendering gives.
type Result struct {
	Text string
	// Generated are the parts of Text that come from {% generation %}, in their order.
	Generated []Span
	// Misplaced counts blocks of {% generation %} inside macros, set, filter or call,
	// whose place in Text cannot be told; Generated is without them.
	Misplaced int
}

// run is one rendering.
type run struct {
	globals *Dict
	limits  Limits
	until   time.Time
	now     func() time.Time
	steps   int
	charged int
	depth   int
	macros  int
	out     *sink // what is written now
	root    *sink
	spans   []generated

	generations int // blocks of {% generation %} around the statement
}

type generated struct {
	lo   int
	text string
}

// Render renders a template with its variables. now tells the time for strftime_now.
func (t *Template) Render(variables *Dict, limits Limits, now func() time.Time) (result Result, err error) {
	r := &run{globals: variables, limits: limits, until: time.Now().Add(limits.Time), now: now}
	r.root = &sink{r: r}
	r.out = r.root
	defer func() {
		if p := recover(); p != nil {
			result, err = Result{}, &Error{Reason: fmt.Sprint(p)}
		}
	}()
	if err := r.block(newScope(nil, t.frame), t.body); err != nil {
		return Result{}, at(0, err)
	}
	return r.result(), nil
}

func (r *run) result() Result {
	result := Result{Text: r.root.b.String()}
	for _, g := range r.spans {
		hi := g.lo + len(g.text)
		if hi > len(result.Text) || result.Text[g.lo:hi] != g.text {
			result.Misplaced++
			continue
		}
		result.Generated = append(result.Generated, Span{g.lo, hi})
	}
	return result
}

// tick is called for every step.
func (r *run) tick() error {
	r.steps++
	if r.steps%32 == 0 && time.Now().After(r.until) {
		return errSlow
	}
	return nil
}

// fits refuses a value of so many bytes.
func (r *run) checkSize(size int) error {
	if size > r.limits.Size || size < 0 {
		return fmt.Errorf("a text grows beyond %d bytes", r.limits.Size)
	}
	return nil
}

// charge counts bytes that the rendering takes.
func (r *run) charge(size int) error {
	r.charged += size
	if size < 0 || r.charged > r.limits.Total {
		return errors.New("it takes too much memory")
	}
	return nil
}

// makes is fits and charge, for a value that is about to be made.
func (r *run) allocate(size int) error {
	if err := r.checkSize(size); err != nil {
		return err
	}
	return r.charge(size)
}

// deeper counts calls inside each other; the caller subtracts again.
func (r *run) deeper() error {
	if r.depth++; r.depth > maxDepth {
		return errDepth
	}
	return r.tick()
}

// at gives an error its line, unless it has one.
func at(line int, err error) error {
	var located *Error
	if err == nil || errors.As(err, &located) || err == errBreak || err == errContinue {
		return err
	}
	return &Error{line, err.Error(), errors.Is(err, errSlow)}
}
