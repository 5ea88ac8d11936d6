package chat_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"patchwork/vlm/chat"
)

// hostile are templates that would loop forever or exhaust memory or stack.
var hostile = map[string]string{
	"loops in loops":            "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
	"loops over a text":         "{% set x = 'abcdefgh' * 900 %}{% for a in x %}{% for b in x %}{% for c in x %}{% if a %}{% endif %}{% endfor %}{% endfor %}{% endfor %}",
	"a text times a number":     "{{ 'a' * 1000000000 }}",
	"a text times a variable":   "{% set n = 1000000000 %}{{ 'a' * n }}",
	"products of products":      "{{ 'a' * 1000 * 1000 * 1000 * 1000 }}",
	"a text that doubles":       "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
	"a list that doubles":       "{% set n = namespace(x=['aa']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
	"a repeated replace":        "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x | replace('a', n.x) %}{% endfor %}{{ n.x }}",
	"text joined by text":       "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x.join(['b', 'c', n.x]) %}{% endfor %}{{ n.x }}",
	"padding":                   "{{ 'a' | center(1000000000) }}",
	"padding by a method":       "{{ 'a'.ljust(1000000000) }}",
	"padding by a format":       "{{ '%1000000000d' | format(1) }}",
	"an indent":                 "{{ [1] | tojson(indent=1000000000) }}",
	"a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"a block that calls itself": "{% block a %}{{ self.a() }}{% endblock %}",
	"a loop that calls itself":  "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"brackets":                  "{{ " + strings.Repeat("(", 60000) + "1 }}",
	"negations":                 "{{ " + strings.Repeat("not ", 15000) + "1 }}",
	"blocks":                    strings.Repeat("{% if a %}", 6000),
	"a long output":             "{% for a in range(99999) %}{{ messages[0].content * 1000 }}{% endfor %}",
	"prose":                     "{{ lipsum(n=100000000) }}",
	"a large template":          strings.Repeat("a", 1<<20),
}

// Hostile templates are an error, quickly and without much memory.
func TestHostileTemplates(t *testing.T) {
	if testing.Short() {
		t.Skip("every template runs into a limit")
	}
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := render(source)
			runtime.ReadMemStats(&after)
			var bad *chat.TemplateError
			if !errors.As(err, &bad) || len(err.Error()) > 400 {
				t.Errorf("%T %.400v, want a short *TemplateError", err, err)
			}
			if used := (after.Sys - min(after.Sys, before.Sys)) >> 20; used > 300 {
				t.Errorf("took %d MB", used)
			}
		})
	}
}

func render(source string) error {
	template, err := chat.Parse(source, map[string]string{"eos_token": "<|im_end|>"})
	if err != nil {
		return err
	}
	_, err = template.Render([]chat.Message{{Role: "user", Content: "a"}}, chat.Options{})
	return err
}

// The renderings that probe a template share one time limit.
func TestProbesShareTimeLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a time limit")
	}
	source := "{% for a in range(300) %}{% for b in range(300) %}{{ '' }}{% endfor %}{% endfor %}" // some tenth of a second
	if err := render(strings.Repeat(source, 100)); err == nil {
		t.Error("no error")
	}
}
