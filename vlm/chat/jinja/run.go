// Package jinja renders chat templates like Python's jinja2 in the environment of Hugging
// Face's transformers (utils/chat_template_utils.py): an immutable sandbox with trim_blocks
// and lstrip_blocks, the loop controls, {% generation %}, and transformers' tojson,
// raise_exception and strftime_now.
//
// Templates are untrusted. Rendering stays within its Limits and returns an error, never
// panics. Templates have no access to files, other templates or the host, except the time.
package jinja

import (
	"errors"
	"fmt"
	"time"
)

// Error reports a template that cannot be parsed or rendered.
type Error struct {
	Line   int // 0: unknown
	Reason string
	Slow   bool // it exceeded its time limit
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Limits are the limits of one rendering.
type Limits struct {
	Time  time.Duration
	Size  int // bytes of the result, and of every value
	Total int // bytes of all values together, including those no longer used
}

const (
	maxDepth      = 4000 // nested expressions and statements, across calls
	maxMacroDepth = 200
	maxValueDepth = 500 // nested lists
	maxRange      = 100000
	maxDigits     = 4300 // of an integer, as in Python
	itemSize      = 32   // bytes of a list's item
)

var (
	errDepth = errors.New("recursion or nesting of values is too deep")
	errSlow  = errors.New("it takes too much time")
	errRange = fmt.Errorf("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	body  []stmt
	frame *frame
}

// Span is the byte range [Lo, Hi).
type Span struct{ Lo, Hi int }

// Result is the result of a rendering.
type Result struct {
	Text string
	// Generated are the spans of {% generation %} blocks in Text, in order.
	Generated []Span
	// Misplaced counts {% generation %} blocks inside macros, set, filter or call, whose
	// span in Text is unknown. They are not in Generated.
	Misplaced int
}

// run is the state of a rendering.
type run struct {
	globals *Dict
	limits  Limits
	until   time.Time
	now     func() time.Time
	steps   int
	charged int
	depth   int
	macros  int
	out     *sink // the current output
	root    *sink
	spans   []generated

	generations int // {% generation %} blocks around the statement
}

type generated struct {
	lo   int
	text string
}

// Render renders a template with its variables. now returns the time for strftime_now. The
// error is an *Error.
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

// tick is called at every step; it checks the time limit.
func (r *run) tick() error {
	r.steps++
	if r.steps%32 == 0 && time.Now().After(r.until) {
		return errSlow
	}
	return nil
}

// checkSize returns an error if a value of size bytes is too large.
func (r *run) checkSize(size int) error {
	if size > r.limits.Size || size < 0 {
		return fmt.Errorf("a text exceeds %d bytes", r.limits.Size)
	}
	return nil
}

// charge adds to the memory of the rendering and checks its limit.
func (r *run) charge(size int) error {
	r.charged += size
	if size < 0 || r.charged > r.limits.Total {
		return errors.New("it takes too much memory")
	}
	return nil
}

// allocate is checkSize and charge, to be called before creating a value.
func (r *run) allocate(size int) error {
	if err := r.checkSize(size); err != nil {
		return err
	}
	return r.charge(size)
}

// deeper increments the depth and checks its limit; the caller decrements it.
func (r *run) deeper() error {
	if r.depth++; r.depth > maxDepth {
		return errDepth
	}
	return r.tick()
}

// at adds the line to an error, unless it has one.
func at(line int, err error) error {
	var located *Error
	if err == nil || errors.As(err, &located) || err == errBreak || err == errContinue {
		return err
	}
	return &Error{line, err.Error(), errors.Is(err, errSlow)}
}
