package chat

import (
	"errors"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// A template comes from whoever made the model, and Jinja has loops, recursion and
// strings that double. What honest templates need is far below these.
const (
	maxSource   = 64 << 10 // bytes of a template; each nested statement takes stack
	maxTime     = 5 * time.Second
	maxDepth    = 50      // of macros
	maxBrackets = 100     // inside each other
	maxRanged   = 1 << 20 // numbers by range, all calls together
	maxOperator = 200     // additions in one tag
	maxFactor   = 1000    // by which a text may be multiplied
	maxGrowth   = 16      // times the messages' bytes, for the result and for each value
	spare       = 1 << 20 // bytes besides
)

var (
	errSlow  = errors.New("it takes more than 5 seconds")
	errDepth = errors.New("its macros call each other too deeply")
	errLarge = errors.New("its text grows beyond 16 times the messages")
	errRange = errors.New("range is too big")
)

// A meter watches one rendering.
type meter struct {
	until  time.Time
	most   int // bytes of a value, or of the result
	depth  int
	ranged int
	text   strings.Builder
}

// meterName is the meter's in the template's variables; no template can name it.
const meterName = "the meter"

func newMeter(messages []Message) *meter {
	m := &meter{until: time.Now().Add(maxTime), most: spare}
	for _, one := range messages {
		m.most += maxGrowth * (len(one.Content) + len(one.Reasoning) + len(one.Role))
	}
	return m
}

// meterOf finds the meter of a rendering.
func meterOf(c *exec.Context) (*meter, error) {
	value, _ := c.Get(meterName)
	if m, ok := value.(*meter); ok {
		return m, nil
	}
	return nil, errors.New("the template's variables are damaged")
}

// tick is called for every statement.
func (m *meter) tick() error {
	if time.Now().After(m.until) {
		return errSlow
	}
	return nil
}

// Write takes the result.
func (m *meter) Write(p []byte) (int, error) {
	if err := m.fits(m.text.Len() + len(p)); err != nil {
		return 0, err
	}
	return m.text.Write(p)
}

func (m *meter) fits(size int) error {
	if size > m.most {
		return errLarge
	}
	return m.tick()
}

// sized refuses a value that is too large.
func (m *meter) sized(v any) error { return m.fits(sizeOf(v, 8)) }

// sizeOf is roughly the bytes of a template's value, down to some depth.
func sizeOf(v any, depth int) (n int) {
	if depth == 0 {
		return 0
	}
	switch v := v.(type) {
	case string:
		return len(v)
	case *exec.Value:
		return sizeOf(v.Interface(), depth-1)
	case []any:
		for _, one := range v {
			n += 16 + sizeOf(one, depth-1)
		}
	case map[string]any:
		for key, one := range v {
			n += 16 + len(key) + sizeOf(one, depth-1)
		}
	}
	return n
}

// once counts a call of a macro.
func (m *meter) once(macro exec.Macro) exec.Macro {
	return func(params *exec.VarArgs) *exec.Value {
		if m.depth++; m.depth > maxDepth {
			return exec.AsValue(errDepth)
		}
		defer func() { m.depth-- }()
		if err := m.tick(); err != nil {
			return exec.AsValue(err)
		}
		out := macro(params)
		if err := m.sized(out); err != nil {
			return exec.AsValue(err)
		}
		return out
	}
}
