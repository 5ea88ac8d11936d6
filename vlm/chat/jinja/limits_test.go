package jinja

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile are templates that would exhaust time, memory or stack.
var hostile = map[string]string{
	"a loop over a loop":      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
	"a loop in filters":       "{% set x = range(99999)|list %}{% for a in x %}{{ x|map('string')|join|length }}{% endfor %}",
	"a filter of each":        "{% set x = range(99999)|list %}{{ x|map('replace', '', x|join)|list|length }}",
	"doubling by +":           "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
	"doubling by %":           "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = '%s%s' % (n.x, n.x) %}{% endfor %}",
	"doubling by format":      "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = '{0}{0}'.format(n.x) %}{% endfor %}",
	"doubling by set":         "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
	"doubling by a macro":     "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = f(n.x) %}{% endfor %}",
	"doubling by repr":        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
	"doubling by tojson":      "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
	"doubling by ==":          "{% set n = namespace(x=['a'], y=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
	"doubling by a list":      "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x * 2 %}{% endfor %}",
	"doubling by a dict":      "{% set n = namespace(x={}) %}{% for i in range(99999) %}{% set n.x = dict(n.x, **{'k' ~ i: 'v' * 1000}) %}{% endfor %}",
	"many large texts":        "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = n.x + ['a' * 1000000] %}{% endfor %}",
	"deep lists":              "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
	"deep lists compared":     "{% set n = namespace(x=[], y=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% set n.y = [n.y] %}{% endfor %}{{ n.x == n.y }}",
	"deep lists sorted":       "{% set n = namespace(x=[], y=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% set n.y = [n.y] %}{% endfor %}{{ [n.x, n.y]|sort }}",
	"deep tuples hashed":      "{% set n = namespace(x=(1,)) %}{% for i in range(9999) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}",
	"a namespace in itself":   "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
	"a namespace in a list":   "{% set n = namespace() %}{% set n.x = [n] %}{{ n.x|tojson }}",
	"two macros":              "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
	"a caller":                "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
	"a default":               "{% macro f(x=f()) %}{{ x }}{% endmacro %}{{ f() }}",
	"a recursive loop":        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"power":                   "{{ 9 ** (9 ** 9) }}",
	"power of power":          "{% set n = namespace(x=3) %}{% for i in range(99) %}{% set n.x = n.x ** 3 %}{% endfor %}{{ n.x }}",
	"products":                "{% set n = namespace(x=3) %}{% for i in range(999) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
	"a width":                 "{{ '%999999999d' % 1 }}",
	"a width as an argument":  "{{ '%*d' % (999999999, 1) }}",
	"a width of format":       "{{ '{:999999999}'.format(1) }}",
	"a precision":             "{{ '%.999999999f' % 1.5 }}",
	"a precision of format":   "{{ '{:.999999999f}'.format(1.5) }}",
	"a precision of an int":   "{{ '%.999999999d' % 1 }}",
	"zeros":                   "{{ '1'.zfill(999999999) }}",
	"tabs":                    "{{ '\t\t'.expandtabs(999999) * 10 }}",
	"an indent":               "{{ 'a\nb'|indent(999999999) }}",
	"an indent of JSON":       "{{ [[[1]]]|tojson(indent=999999999) }}",
	"batches":                 "{{ [1]|batch(999999999, 0)|list }}",
	"slices":                  "{{ [1]|slice(999999999)|list }}",
	"a text put between text": "{% set x = 'a' * 99999 %}{{ x.replace('a', x) }}",
	"a text joined by a text": "{% set x = 'a' * 99999 %}{{ x.join(x) }}",
	"the filter join":         "{% set x = 'a' * 99999 %}{{ x|join(x) }}",
	"a width of strftime":     "{{ strftime_now('%999999999Y') * 999999 }}",
	"many dates":              "{{ strftime_now('%c' * 99999) }}",
	"escapes":                 "{{ ('&' * 999999)|escape }}",
	"brackets":                "{{ " + strings.Repeat("(", 60000) + "1 }}",
	"lists":                   "{{ " + strings.Repeat("[", 60000) + "1 }}",
	"signs":                   "{{ " + strings.Repeat("-", 60000) + "1 }}",
	"sums":                    "{{ 1" + strings.Repeat("+1", 60000) + " }}",
	"attributes":              "{{ a" + strings.Repeat(".a", 60000) + " }}",
	"filters":                 "{{ a" + strings.Repeat("|e", 60000) + " }}",
	"ifs":                     strings.Repeat("{% if a %}", 9000),
	"ifs and elses":           "{{ 1" + strings.Repeat(" if 1 else 1", 9000) + " }}",
	"a number":                "{{ " + strings.Repeat("9", 99999) + " }}",
	"a number from a text":    "{{ ('9' * 999999)|int + 'a' }}",
}

func TestHostileTemplatesEnd(t *testing.T) {
	limits := Limits{Time: time.Second, Size: 1 << 20, Total: 64 << 20}
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			template, err := Parse(source)
			if err == nil {
				_, err = template.Render(NewDict(), limits, time.Now)
			}
			var failed *Error
			if !errors.As(err, &failed) {
				t.Errorf("error %v, want an *Error", err)
			}
		})
	}
}

// A template renders many conversations concurrently.
func TestTemplatesAreSafeForConcurrentUse(t *testing.T) {
	template, err := Parse("{% macro f(x) %}<{{ x }}>{% endmacro %}{% for i in items %}{% generation %}{{ f(i) }}{% endgeneration %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				d := NewDict()
				d.Set("items", NewList(int64(1), "b"))
				got, err := template.Render(d, testLimits, time.Now)
				if err != nil || got.Text != "<1><b>" || len(got.Generated) != 2 {
					t.Errorf("%q, %v (%v)", got.Text, got.Generated, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// For a {% generation %} block inside a macro, transformers returns a wrong span. Here it is
// counted as misplaced instead.
func TestMisplacedGeneration(t *testing.T) {
	tests := []struct {
		source    string
		spans     []Span
		misplaced int
	}{
		{"ab{% generation %}cd{% endgeneration %}ef", []Span{{2, 4}}, 0},
		{"{% macro f() %}x{% generation %}yz{% endgeneration %}{% endmacro %}a{{ f() }}", nil, 1},
		{"{% set s %}x{% generation %}yz{% endgeneration %}{% endset %}a{{ s }}", nil, 1},
		{"{% filter upper %}{% generation %}yz{% endgeneration %}{% endfilter %}", nil, 1},
	}
	for _, test := range tests {
		got, err := renderSource(test.source, NewDict())
		if err != nil || len(got.Generated) != len(test.spans) || got.Misplaced != test.misplaced {
			t.Errorf("%s: %v and %d misplaced (%v), want %v and %d", test.source, got.Generated, got.Misplaced, err, test.spans, test.misplaced)
		}
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	tests := []struct{ source, want string }{
		{"a\n{{ 1 +\n }}", "line 3: unexpected '}}'"},
		{"a\n\n{{ x.y }}", "line 3: 'x' is undefined"},
		{"{% for a in [1] %}\n{{ a.b.c }}\n{% endfor %}", "line 2: 'int' object has no attribute 'b'"},
		{"{{ raise_exception('as it is') }}", "as it is"},
		{"\n{% if true %}", "line 2: the template ends inside 'if'; expected 'elif' or 'else' or 'endif'"},
		{"{{ 1|nothing }}", "line 1: No filter named 'nothing'"},
		{"{% include 'x' %}", "line 1: 'include' is not for chat templates"},
	}
	for _, test := range tests {
		if _, err := renderSource(test.source, NewDict()); err == nil || err.Error() != test.want {
			t.Errorf("%q: error %v, want %q", test.source, err, test.want)
		}
	}
}

func FuzzRender(f *testing.F) {
	all := readRecordings(f)
	for _, one := range all.Templates {
		f.Add(one.Source)
	}
	for _, one := range all.Expressions {
		f.Add("{{ " + one.Source + " }}")
	}
	for _, source := range hostile {
		if len(source) < 1000 {
			f.Add(source)
		}
	}
	limits := Limits{Time: time.Second, Size: 1 << 16, Total: 16 << 20}
	f.Fuzz(func(t *testing.T, source string) {
		template, err := Parse(source)
		if err != nil {
			return
		}
		got, _ := template.Render(all.variables(t, "tools"), limits, time.Now) // errors of the template do not matter
		if len(got.Text) > limits.Size {
			t.Errorf("%d bytes", len(got.Text))
		}
		for _, s := range got.Generated {
			if s.Lo < 0 || s.Hi < s.Lo || s.Hi > len(got.Text) {
				t.Errorf("span %v of %d bytes", s, len(got.Text))
			}
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add(`{"b": [1, 2.5, null, true, "é"], "a": {"c": 12345678901234567890}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := FromJSON([]byte(text)); err != nil {
			return
		}
	})
}
